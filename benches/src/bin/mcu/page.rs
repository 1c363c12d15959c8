//! What is printed.

use benches::mcu::{Cycles, FrontEndCost, Measurement};
use benches::networks::NETWORKS;
use trainer::command::{Failure, print};

pub(crate) fn print_json(all: &[Measurement], single: bool) -> Result<(), Failure> {
    let text = match all {
        [measurement] if single => serde_json::to_string_pretty(measurement)?,
        _ => serde_json::to_string_pretty(all)?,
    };
    print(text)
}

pub(crate) fn print_page(m: &Measurement) -> Result<(), Failure> {
    print(format_args!(
        "{} on the emulated {}\n  \
           instructions  {} ({:.2} per MAC, {} MACs)\n  {}\
           start-up      {} instructions ({:.2} per byte of the image)\n  \
           flash         code {}, image {} bytes\n  \
           RAM           static {}, arena {}, stack {} bytes\n  \
           output        {:?}\n  \
           {}equal to the host's on {} input(s)",
        m.model,
        m.core,
        m.instructions,
        per_mac(m),
        m.macs,
        m.estimated_cycles.map_or_else(String::new, cycles_line),
        m.startup_instructions,
        startup_per_byte(m),
        m.code_bytes,
        m.image_bytes,
        m.static_bytes,
        m.arena_bytes,
        m.stack_bytes,
        m.output,
        m.front_end
            .as_ref()
            .map_or_else(String::new, front_end_line),
        m.inputs_compared
    ))
}

fn cycles_line(cycles: Cycles) -> String {
    let Cycles { low, high } = cycles;
    format!("cycles        {low} to {high}, estimated by Arm's timings\n  ")
}

fn front_end_line(f: &FrontEndCost) -> String {
    format!(
        "front end     {} instructions for {} frames, workspace {} bytes\n  ",
        f.instructions, f.frames, f.workspace_bytes
    )
}

pub(crate) fn print_heading() -> Result<(), Failure> {
    print(format_args!(
        "{:<20} {:>4} {:>12} {:>7} {:>11} {:>5} {:>8} {:>8} {:>6} {:>7} {:>6} {:>6} {:>5} {:>5}  {}",
        "model",
        "core",
        "instructions",
        "per MAC",
        "CMSIS-NN",
        "ratio",
        "start-up",
        "per byte",
        "code",
        "image",
        "static",
        "arena",
        "stack",
        "equal",
        "cycles (estimated)"
    ))
}

pub(crate) fn print_row(m: &Measurement) -> Result<(), Failure> {
    let cmsis_nn = cmsis_nn(m);
    print(format_args!(
        "{:<20} {:>4} {:>12} {:>7.2} {:>11} {:>5} {:>8} {:>8.2} {:>6} {:>7} {:>6} {:>6} {:>5} {:>5}  {}",
        m.short_name(),
        m.core,
        m.instructions,
        per_mac(m),
        or_dash(cmsis_nn.map(|count| count.to_string())),
        or_dash(cmsis_nn.map(|count| format!("{:.2}", m.instructions as f64 / count as f64))),
        m.startup_instructions,
        startup_per_byte(m),
        m.code_bytes,
        m.image_bytes,
        m.static_bytes,
        m.arena_bytes,
        m.stack_bytes,
        m.inputs_compared,
        or_dash(m.estimated_cycles.map(|c| format!("{}-{}", c.low, c.high)))
    ))
}

/// What CMSIS-NN takes for the built-in network of this name.
fn cmsis_nn(m: &Measurement) -> Option<u64> {
    let network = NETWORKS.iter().find(|n| n.name == m.short_name())?;
    network.cmsis_nn_on(m.core)
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn per_mac(m: &Measurement) -> f64 {
    m.instructions as f64 / m.macs.max(1) as f64
}

fn startup_per_byte(m: &Measurement) -> f64 {
    m.startup_instructions as f64 / m.image_bytes.max(1) as f64
}
