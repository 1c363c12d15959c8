#![allow(clippy::unwrap_used, missing_docs)]
use benches::mcu::Inputs;
use compress::encode::{Coding, encode};
use no_std_core::Model;
#[test]
fn write() {
    let encoded = encode(&benches::networks::every_operator(), Coding::Smallest).unwrap();
    for l in &encoded.layers {
        println!("{:?}", l);
    }
    println!(
        "{} bytes arena {}",
        encoded.bytes.len(),
        encoded.plan.arena_bytes
    );
    println!("{:?}", encoded.ledger);
    let model = Model::parse(&encoded.bytes).unwrap();
    let inputs = Inputs::random(&model, 4, 5);
    let mut arena = vec![0; model.arena_bytes()];
    let mut session = edge_runtime::Session::new(&model, &mut arena).unwrap();
    let (mut i, mut o) = (vec![], vec![]);
    for input in inputs.iter() {
        session.input_mut().copy_from_slice(input);
        session.run_observed(|op, y| {
            let s: String = format!("{:?}", op.kind).chars().take(12).collect();
            println!("{s} {:?}", &y[..y.len().min(24)]);
        });
        println!();
        i.extend(input.iter().map(|&x| x as u8));
        o.extend(session.output().iter().map(|&x| x as u8));
    }
    if std::env::var_os("WRITE").is_some() {
        let g = "../no_std-core/golden/v1.";
        std::fs::write(format!("{g}pith"), &encoded.bytes).unwrap();
        std::fs::write(format!("{g}in"), i).unwrap();
        std::fs::write(format!("{g}out"), o).unwrap();
    }
}
