#![allow(clippy::unwrap_used, missing_docs)]
use benches::mcu::*;
use std::io::Write;
#[test]
fn sizes() {
    let every = compress::encode::encode(
        &benches::networks::every_operator(),
        compress::encode::Coding::Smallest,
    )
    .unwrap()
    .bytes;
    let mut images = vec![("every", every)];
    for n in benches::networks::NETWORKS
        .iter()
        .filter(|n| n.name.ends_with("-sparse"))
    {
        images.push((n.name, n.image().unwrap()));
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, image) in images.into_iter().filter(|(n, _)| n.contains(&only)) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&image).unwrap();
        for core in [Core::M4, Core::M0] {
            let options = Options {
                timeout: std::time::Duration::from_secs(100),
                prove_no_panic: std::env::var_os("PROVE").is_some(),
            };
            match measure(
                file.path(),
                core,
                |m: &no_std_core::Model| Ok(Inputs::random(m, 2, 7)),
                options,
            ) {
                Ok(m) => println!(
                    "{name} {core}: code {} stack {} arena {} instr {} matches {}",
                    m.code_bytes, m.stack_bytes, m.arena_bytes, m.instructions, m.matches_host
                ),
                Err(e) => println!("{name} {core}: {e}"),
            }
        }
    }
}
