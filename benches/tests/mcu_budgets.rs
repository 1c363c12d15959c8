//! What the built-in networks cost is what `budgets.toml` says, to a hundredth of the code of its compiler.
#![allow(clippy::expect_used)]

mod common;

use benches::budgets::{Budget, Budgets, COMMAND, TOLERANCE_PERCENT};
use benches::mcu::{Core, Inputs, McuError, Measurement, Options, Toolchain, measure};
use benches::networks::{NETWORKS, Network};
use common::{TIMEOUT, unless_missing};
use std::io::Write;
use std::thread;

/// As [`TOLERANCE_PERCENT`], of another compiler's code than the budgets are of.
const OTHER_COMPILER_PERCENT: u64 = 10;

/// Multiply-accumulates of a network that is measured on more cores than the M4.
const SMALL: u64 = 300_000;

/// Every network on the M4, small ones on the M0 and M3, compressed ones on the M33 too; the firmware holds
/// no panic, and its integers are the host's.
#[test]
fn networks_keep_to_their_budgets() {
    let budgets = Budgets::load().expect("the project's budgets");
    let hold = |core| held(&budgets, core);
    let complaints = thread::scope(|scope| {
        let started =
            [Core::M0, Core::M3, Core::M4, Core::M33].map(|core| scope.spawn(move || hold(core)));
        started
            .map(|thread| thread.join().expect("no panic"))
            .concat()
    });
    assert!(
        complaints.is_empty(),
        "{}\nIf that is as it should be, write the budgets anew: {COMMAND}",
        complaints.join("\n")
    );
}

/// What is not within its budget on a core.
fn held(budgets: &Budgets, core: Core) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(tolerance) = tolerance(budgets, core) else {
        return complaints;
    };
    for network in NETWORKS.iter().filter(|network| is_measured(network, core)) {
        let Some(measured) = unless_missing("budgets", measured(network, core)) else {
            break;
        };
        let name = network.name;
        match budgets.of(name, core) {
            Some(budget) => complaints.extend(
                budget
                    .complaints(&Budget::from(&measured), tolerance)
                    .iter()
                    .map(|complaint| format!("{name} on {core}: {complaint}")),
            ),
            None => complaints.push(format!("{name} on {core}: no budget")),
        }
    }
    complaints
}

fn is_measured(network: &Network, core: Core) -> bool {
    let is_sparse = network.name.ends_with("-sparse");
    match core {
        Core::M4 => true,
        Core::M33 => is_sparse,
        _ => is_sparse || network.macs() < SMALL,
    }
}

fn measured(network: &Network, core: Core) -> Result<Measurement, McuError> {
    let image = network.image().expect("within the format's limits");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&image).expect("written");
    let options = Options {
        timeout: TIMEOUT,
        prove_no_panic: true,
    };
    let inputs = |model: &no_std_core::Model| Ok(Inputs::random(model, 2, 1));
    measure(file.path(), core, inputs, options)
}

/// How far figures may be from their budgets, in hundredths: another compiler makes other code.
fn tolerance(budgets: &Budgets, core: Core) -> Option<u64> {
    let compiler = Toolchain::find(core.board().triple).and_then(Toolchain::compiler);
    let compiler = unless_missing("budgets", compiler)?;
    if compiler == budgets.compiler {
        return Some(TOLERANCE_PERCENT);
    }
    let line = format!(
        "budgets for {core} are of {}, and this is {compiler}: held within {OTHER_COMPILER_PERCENT} %; to write them \
         anew: {COMMAND}",
        budgets.compiler
    );
    let _ = writeln!(std::io::stderr().lock(), "{line}");
    Some(OTHER_COMPILER_PERCENT)
}

/// With two or three in a hundred weights left, a network needs fewer instructions than the dense one in
/// CMSIS-NN, on every core that this was counted on and that has no vectors.
#[test]
fn sparse_networks_need_less_than_dense_ones() {
    let budgets = Budgets::load().expect("the project's budgets");
    for network in NETWORKS.iter().filter(|n| n.name.ends_with("-sparse")) {
        for core in [Core::M0, Core::M3, Core::M4] {
            let budget = budgets.of(network.name, core).expect("a budget");
            let dense = network.cmsis_nn_on(core).expect("counted");
            assert!(budget.instructions < dense, "{} on {core}", network.name);
        }
    }
}

/// Each network has a budget on each core. Start-up (reading and checking the image) takes at most 20
/// instructions a byte, 22 on the M0, of images that are not mostly descriptors.
#[test]
fn every_network_has_a_budget_on_every_core() {
    let budgets = Budgets::load().expect("the project's budgets");
    for network in &NETWORKS {
        let bytes = network.image().expect("within the format's limits").len() as u64;
        for core in Core::ALL {
            let budget = budgets.of(network.name, core);
            let budget = budget.unwrap_or_else(|| panic!("{} on {core}: {COMMAND}", network.name));
            let per_byte = budget.startup as f64 / bytes as f64;
            let most = if core == Core::M0 { 22.0 } else { 20.0 };
            let is_descriptors = bytes < 2_000;
            assert!(
                is_descriptors || per_byte <= most,
                "{} on {core}: {per_byte}",
                network.name
            );
        }
    }
}
