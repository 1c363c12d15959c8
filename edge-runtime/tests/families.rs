//! An image needs the families of operators that it holds, and no others.
#![allow(clippy::unwrap_used)]

use no_std_core::{FormatError, Model};

/// What is refused of these images, by builds with features and without.
fn refused(image: &[u8]) -> Option<FormatError> {
    Model::parse(image).err()
}

#[test]
fn an_image_is_refused_where_an_operator_is_left_out() {
    let whole = cfg!(all(
        feature = "pairs",
        feature = "movement",
        feature = "heads",
        feature = "normalization",
        feature = "recurrent"
    ));
    let every_operator = include_bytes!("../../no_std-core/golden/v1.pith");
    let expected = (!whole).then_some(FormatError::LeftOut);
    assert_eq!(refused(every_operator), expected);
}

#[test]
fn an_image_is_refused_where_a_form_of_weights_is_left_out() {
    let whole = cfg!(all(
        feature = "context",
        feature = "hashed",
        feature = "vector"
    ));
    let every_form = include_bytes!("../../no_std-core/golden/v1-coded.pith");
    let expected = (!whole).then_some(FormatError::LeftOut);
    assert_eq!(refused(every_form), expected);
}

#[test]
fn an_image_is_refused_where_panels_are_left_out() {
    let expected = (!cfg!(feature = "panels")).then_some(FormatError::LeftOut);
    let panels = include_bytes!("../../no_std-core/golden/v1-panels.pith");
    assert_eq!(refused(panels), expected);
}
