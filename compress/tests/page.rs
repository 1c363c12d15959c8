//! The page of a compression: whole, well-formed, dependent on nothing but itself, and of the run's
//! figures.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

#[path = "common/digits.rs"]
mod digits;

use digits::{DATA, open};
use roxmltree::{Document, Node};
use serde_json::Value;

/// As XML: a page whose every tag is closed, but for those that HTML never closes.
fn xml(page: &str) -> String {
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    body.replace("charset=\"utf-8\">", "charset=\"utf-8\"/>")
        .replace("initial-scale=1\">", "initial-scale=1\"/>")
}

fn ids(document: &Document) -> Vec<String> {
    let ids = document.descendants().filter_map(|n| n.attribute("id"));
    ids.map(str::to_owned).collect()
}

fn section<'d>(document: &'d Document, id: &str) -> Node<'d, 'd> {
    let mut all = document.descendants();
    all.find(|n| n.attribute("id") == Some(id))
        .expect("a section")
}

fn text(node: Node) -> String {
    let texts = node.descendants().filter_map(|n| n.text());
    texts.collect::<Vec<_>>().join(" ")
}

/// Nothing that a browser would fetch or run.
fn assert_alone(page: &str, document: &Document) {
    for word in ["http", "url(", "@import", "javascript"] {
        assert!(!page.contains(word), "{word}");
    }
    for node in document.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        let fetching = ["script", "link", "img", "iframe", "object", "use", "image"];
        assert!(!fetching.contains(&name), "{name}");
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(
                !name.starts_with("on") && name != "src" && name != "href",
                "{name}"
            );
        }
    }
}

#[test]
fn a_page_holds_every_section_and_the_figures_of_its_report() {
    let t = open();
    t.says(&format!(
        "compress --prune --quantize m.onnx --data {DATA} --epochs 3 -o m.pith --report r.json --html r.html"
    ));
    let page = String::from_utf8(t.read("r.html")).expect("text");
    let page_xml = xml(&page);
    let document = Document::parse(&page_xml).expect("well-formed");
    assert_alone(&page, &document);
    let expected = [
        "figures",
        "size",
        "stages",
        "layers",
        "sensitivity",
        "weights",
        "arena",
        "confusion",
    ];
    assert_eq!(ids(&document), expected);

    let report = t.json("r.json");
    let bytes = report["image"]["bytes"].as_u64().expect("a count");
    let grouped = format!("{},{:03}", bytes / 1000, bytes % 1000);
    assert!(
        text(section(&document, "figures")).contains(&grouped),
        "{grouped}"
    );
    // The first bar is the file: its parts fill it.
    let bar = section(&document, "size")
        .descendants()
        .find(|n| n.has_tag_name("svg"));
    let parts = bar
        .expect("a bar")
        .descendants()
        .filter(|n| n.has_tag_name("rect"));
    let width = |n: Node| {
        n.attribute("width")
            .and_then(|w| w.strip_suffix('%')?.parse().ok())
    };
    let widths: f64 = parts.map(|n| width(n).unwrap_or(f64::NAN)).sum();
    assert!((widths - 100.0).abs() < 0.1, "{widths}");
    for layer in report["layers"].as_array().expect("a list") {
        let name = layer["name"].as_str().expect("a name");
        for id in ["size", "layers", "weights", "sensitivity"] {
            assert!(
                text(section(&document, id)).contains(name),
                "{name} in {id}"
            );
        }
    }
}

/// Counted twice: as the error measured, and as the examples off the diagonal.
#[test]
fn confusions_histograms_and_ledgers_add_up() {
    let t = open();
    t.says(&format!(
        "compress --prune --quantize m.onnx --data {DATA} --epochs 2 -o m.pith --report r.json"
    ));
    let report = t.json("r.json");
    let n = |value: &Value| value.as_f64().expect("a number");
    for (model, counts) in [("float", "float"), ("image", "image")] {
        let rows = report["confusion"][counts]["counts"]
            .as_array()
            .expect("rows");
        let at = |i: usize, j: usize| n(&rows[i][j]);
        let places = 0..rows.len();
        let total: f64 = places
            .clone()
            .flat_map(|i| places.clone().map(move |j| (i, j)))
            .map(|(i, j)| at(i, j))
            .sum();
        let right: f64 = places.map(|i| at(i, i)).sum();
        assert_eq!(total, n(&report[model]["n"]));
        let error = 100.0 * (total - right) / total;
        assert!((error - n(&report[model]["value"])).abs() < 1e-9, "{model}");
    }
    let layers = report["layers"].as_array().expect("layers");
    let spreads = report["weights"].as_array().expect("weights");
    assert_eq!(layers.len(), spreads.len());
    for (layer, spread) in layers.iter().zip(spreads) {
        let sum = |list: &Value| -> f64 { list.as_array().expect("bins").iter().map(n).sum() };
        assert_eq!(sum(&spread["after"]), n(&layer["nonzero"]));
        let of: f64 = layer["shape"]
            .as_array()
            .expect("a shape")
            .iter()
            .map(n)
            .product();
        assert_eq!(sum(&spread["after"]) + n(&spread["zeros"]), of);
        let purposes = layer["ledger"].as_object().expect("a ledger").values();
        assert_eq!(purposes.map(n).sum::<f64>(), n(&layer["bytes"]));
    }
}

#[test]
fn an_image_alone_has_a_page_too() {
    let t = open();
    t.says("compress --prune=0.8 m.onnx -o m.pith");
    t.says("compress inspect m.pith --html i.html");
    let page = String::from_utf8(t.read("i.html")).expect("text");
    let page_xml = xml(&page);
    let document = Document::parse(&page_xml).expect("well-formed");
    assert_alone(&page, &document);
    let expected = ["figures", "size", "layers", "weights", "arena"];
    assert!(ids(&document).starts_with(&expected.map(str::to_owned)));
    t.refuses("compress inspect m.pith --html m.pith", &["replace"]);
}

#[test]
fn a_name_cannot_become_markup() {
    let t = open();
    let mut graph = digits::network();
    graph.name = "<script>alert('&')</script>\u{1}".into();
    graph.parameters[0].name = "a\"b<c>&d".into();
    digits::write(&graph, &t.path("n.onnx"));
    t.says("compress n.onnx -o n.pith --html n.html");
    let page = String::from_utf8(t.read("n.html")).expect("text");
    let page_xml = xml(&page);
    let document = Document::parse(&page_xml).expect("well-formed");
    assert_alone(&page, &document);
    assert!(text(section(&document, "figures")).contains("<script>alert('&')</script>"));
    assert!(text(section(&document, "layers")).contains("a\"b<c>&d"));
}
