//! Images that released versions wrote, decoded forever: `no_std-core/golden/vN.pith` holds every
//! operator, `vN.in` inputs one after the other and `vN.out` the outputs, as raw integers.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use compress::encode::{decode, recount};
use no_std_core::{Model, VERSION};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../no_std-core/golden");
    std::fs::read(folder.join(name)).unwrap()
}

fn integers(name: &str) -> Vec<i8> {
    golden(name).into_iter().map(|byte| byte as i8).collect()
}

#[test]
fn every_released_version_still_gives_its_integers() {
    for version in 1..=VERSION {
        let image = golden(&format!("v{version}.pith"));
        let model = Model::parse(&image).unwrap();
        let (inputs, outputs) = (
            integers(&format!("v{version}.in")),
            integers(&format!("v{version}.out")),
        );
        let inputs = inputs.chunks_exact(model.input_len());
        let outputs = outputs.chunks_exact(model.output_len());
        assert!(inputs.len() > 0 && inputs.len() == outputs.len());
        for (input, output) in inputs.zip(outputs) {
            assert_eq!(execute(&image, input), output, "version {version}");
            assert_eq!(naive(&decode(&model), input), output, "version {version}");
        }
    }
}

#[test]
fn the_newest_golden_image_holds_all_there_is() {
    let image = golden(&format!("v{VERSION}.pith"));
    let model = Model::parse(&image).unwrap();
    let operators: BTreeSet<_> = model
        .operators()
        .map(|op| std::mem::discriminant(&op.kind))
        .map(|kind| format!("{kind:?}"))
        .collect();
    assert_eq!(operators.len(), 19, "one of each operator of FORMAT.md");
    let forms: BTreeSet<String> = recount(&model)
        .expect("what this encoder writes")
        .layers
        .into_iter()
        .map(|layer| layer.encoding)
        .collect();
    for part in ["int8", "codebook", "huffman", "bitmap", "runs"] {
        assert!(
            forms.iter().any(|f| f.contains(part)),
            "no {part}: {forms:?}"
        );
    }
}
