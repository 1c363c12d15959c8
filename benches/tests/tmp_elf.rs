#![allow(clippy::unwrap_used, missing_docs)]
use benches::mcu::*;
use std::io::Write;
#[test]
fn elf() {
    let name = std::env::var("ONLY").unwrap();
    let image = match benches::networks::NETWORKS.iter().find(|n| n.name == name) {
        Some(n) => n.image().unwrap(),
        None => {
            compress::encode::encode(
                &benches::networks::every_operator(),
                compress::encode::Coding::Smallest,
            )
            .unwrap()
            .bytes
        }
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&image).unwrap();
    let core = if std::env::var_os("M0").is_some() {
        Core::M0
    } else {
        Core::M4
    };
    let subject = Subject::Model {
        path: file.path(),
        bytes: &image,
        audio: false,
    };
    let f = Firmware::build(
        core,
        subject,
        Memory::ample(core),
        std::env::var_os("PROVE").is_some(),
    )
    .unwrap();
    let model = no_std_core::Model::parse(&image).unwrap();
    let run = Emulator::find(std::time::Duration::from_secs(100))
        .unwrap()
        .run(&f, &Inputs::random(&model, 1, 7), "x")
        .unwrap();
    println!(
        "flash less image {} stack {}",
        f.sizes.flash - image.len() as u64,
        run.stack
    );
    std::fs::write("/tmp/fw.elf", &f.elf).unwrap();
}
