//! An image needs the families of operators that it holds, and no others.
#![allow(clippy::unwrap_used)]

use no_std_core::{FormatError, Model};

/// Holds every operator of int8 elements. Run with and without features.
#[test]
fn an_image_is_refused_where_an_operator_is_left_out() {
    let image = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../no_std-core/golden/v1.pith"
    ))
    .unwrap();
    let whole = cfg!(all(
        feature = "pairs",
        feature = "movement",
        feature = "heads",
        feature = "normalization",
        feature = "recurrent",
        feature = "context",
        feature = "hashed"
    ));
    let refused = Model::parse(&image).err();
    assert_eq!(refused, (!whole).then_some(FormatError::LeftOut));
}
