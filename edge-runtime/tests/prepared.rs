//! Memory for speed changes no integer.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used)]

use edge_runtime::Session;
use no_std_core::Model;

/// Outputs of the inputs, one behind the other, of a session and of a prepared one.
fn outputs(image: &[u8], inputs: &[i8]) -> [Vec<i8>; 2] {
    let model = Model::parse(image).unwrap();
    let (mut one, mut other) = (vec![0; model.arena_bytes()], vec![0; model.arena_bytes()]);
    let sessions = [
        Session::new(&model, &mut one).unwrap(),
        Session::prepared(&model, &mut other).unwrap(),
    ];
    sessions.map(|mut session| {
        let mut outputs = Vec::new();
        for input in inputs.chunks_exact(model.input().bytes()) {
            session.input_mut().copy_from_slice(input);
            session.run();
            outputs.extend_from_slice(session.output());
        }
        outputs
    })
}

#[test]
fn prepared_sessions_give_the_integers_of_others() {
    let images: [&[u8]; 3] = [
        include_bytes!("../../no_std-core/golden/v1.pith"),
        include_bytes!("../../no_std-core/golden/v1-coded.pith"),
        include_bytes!("../../no_std-core/golden/v1-panels.pith"),
    ];
    for image in images {
        let bytes = Model::parse(image).unwrap().input().bytes();
        let hash = |i: usize| (i.wrapping_mul(2_654_435_761) >> 9) as i8;
        let inputs: Vec<i8> = (0..5 * bytes).map(hash).collect();
        let [plain, prepared] = outputs(image, &inputs);
        assert!(!plain.is_empty());
        assert_eq!(plain, prepared);
    }
}

#[test]
fn an_arena_too_small_is_refused() {
    let image = include_bytes!("../../no_std-core/golden/v1-panels.pith");
    let model = Model::parse(image).unwrap();
    let mut arena = vec![0; model.arena_bytes() - 1];
    assert!(Session::prepared(&model, &mut arena).is_err());
}
