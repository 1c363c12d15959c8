//! Says which processors have two 16-bit products an instruction, for stable Rust does not tell: those of
//! ARMv7E-M, and of ARMv8-M where the flags name one that has them. And whether there are x86-64's kernels, which
//! the standard library chooses among.

use std::env;

/// Processors of ARMv8-M with the DSP extension, as the compiler knows them.
const WITH_DSP: [&str; 3] = ["cortex-m33", "cortex-m35p", "cortex-m55"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(dsp)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let variable = |name| env::var(name).unwrap_or_default();
    let (target, flags) = (variable("TARGET"), variable("CARGO_ENCODED_RUSTFLAGS"));
    let names = |cpu: &str| flags.contains(&format!("target-cpu={cpu}"));
    let armv8 = target.starts_with("thumbv8m.main-") && WITH_DSP.into_iter().any(names);
    if target.starts_with("thumbv7em-") || armv8 {
        println!("cargo::rustc-cfg=dsp");
    }
    println!("cargo::rustc-check-cfg=cfg(x86)");
    let on = |feature| env::var_os(feature).is_some();
    let host = on("CARGO_FEATURE_STD") && on("CARGO_FEATURE_PANELS");
    if host && variable("CARGO_CFG_TARGET_ARCH") == "x86_64" {
        println!("cargo::rustc-cfg=x86");
    }
}
