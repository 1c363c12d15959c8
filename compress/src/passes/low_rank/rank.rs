//! Which rank each layer gets.

use super::factor::{Form, Layer, factor};
use trainer::graph::{Graph, ShapeError};

/// A way of a layer and its rank; none leaves the layer as it is.
pub type Choice = Option<(usize, usize)>;

/// This rank, where it has fewer parameters.
pub fn by_rank(layer: &Layer, rank: usize) -> Choice {
    let whole = layer.ways.iter().position(|way| way.form == Form::Whole)?;
    (rank <= layer.ways[whole].svd.largest_rank()).then_some((whole, rank))
}

/// The fewest parameters that keep this share of the squares of the singular values.
pub fn by_energy(layer: &Layer, share: f64) -> Choice {
    let ways = layer.ways.iter().enumerate();
    let ways = ways.map(|(place, way)| (place, way.svd.rank_of_energy(share)));
    let saving = ways.filter(|&(place, rank)| rank <= layer.ways[place].svd.largest_rank());
    saving.min_by_key(|&choice| parameters(layer, Some(choice)))
}

/// Parameters of a layer so factored.
pub(super) fn parameters(layer: &Layer, choice: Choice) -> usize {
    choice.map_or(layer.parameters, |(way, rank)| {
        layer.ways[way].svd.parameters(rank)
    })
}

/// The graph with its layers so factored, and the names of the U's.
///
/// # Errors
/// When the layers are not the graph's.
pub fn factored(
    graph: &Graph,
    layers: &[Layer],
    choices: &[Choice],
) -> Result<(Graph, Vec<String>), ShapeError> {
    let mut graph = graph.clone();
    let mut names = Vec::new();
    for (layer, choice) in layers.iter().zip(choices) {
        if let Some((way, rank)) = *choice {
            names.push(factor(&mut graph, layer, &layer.ways[way], rank)?);
        }
    }
    graph.remove_unused();
    Ok((graph, names))
}

/// A way to store a layer: what it costs, and by how much the loss was measured to rise.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Offer {
    choice: Choice,
    parameters: usize,
    rise: f64,
}

/// Halvings of the price of a parameter.
const HALVINGS: usize = 20;

/// The fewest parameters with which the measured loss does not rise by more than `limit`. Every layer is
/// measured alone at ranks about √2 apart; a price per parameter then makes each choose what is worth
/// it, and the highest price is taken at which all the choices together keep the limit.
///
/// # Errors
/// Those of `measure`.
pub fn search<E: From<ShapeError>>(
    graph: &Graph,
    layers: &[Layer],
    limit: f64,
    mut measure: impl FnMut(&Graph) -> Result<f64, E>,
) -> Result<Vec<Choice>, E> {
    let base = measure(graph)?;
    let mut offers = Vec::new();
    for place in 0..layers.len() {
        let mut own = vec![Offer {
            choice: None,
            parameters: layers[place].parameters,
            rise: 0.0,
        }];
        for choice in candidates(&layers[place]) {
            let mut choices = vec![None; layers.len()];
            choices[place] = choice;
            let rise = measure(&factored(graph, layers, &choices)?.0)? - base;
            let parameters = parameters(&layers[place], choice);
            own.push(Offer {
                choice,
                parameters,
                rise: rise.max(0.0),
            });
        }
        offers.push(own);
    }
    // Prices in points per parameter: from where no layer gives way to where all do.
    let (mut low, mut high) = (-12.0f64, 4.0f64);
    let mut best = vec![None; layers.len()];
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        let choices: Vec<Choice> = offers
            .iter()
            .map(|own| at_price(own, 10f64.powf(middle)))
            .collect();
        if measure(&factored(graph, layers, &choices)?.0)? - base <= limit {
            (low, best) = (middle, choices);
        } else {
            high = middle;
        }
    }
    Ok(best)
}

/// Ranks about √2 apart, in all ways.
fn candidates(layer: &Layer) -> Vec<Choice> {
    let mut choices = Vec::new();
    for (place, way) in layer.ways.iter().enumerate() {
        let mut rank = way.svd.largest_rank();
        while rank > 0 {
            choices.push(Some((place, rank)));
            rank = (rank * 5 / 7).min(rank - 1);
        }
    }
    choices
}

fn at_price(offers: &[Offer], price: f64) -> Choice {
    let cost = |offer: &Offer| offer.rise + price * offer.parameters as f64;
    let cheapest = offers.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
    cheapest.and_then(|offer| offer.choice)
}
