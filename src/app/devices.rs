//! `kiln devices`: what is here, and what `auto` would take.

use std::fmt::Write as _;

use kiln_inference::{adapters, has_bf16, pick_auto};

/// A table of this machine's devices.
pub fn devices() -> String {
    let adapters = adapters::enumerate();
    let chosen = pick_auto(&adapters);
    let mut table = String::from("  DEVICE      KIND            API          COMPILER  PRECISION  NAME AND DRIVER\n");
    let mark = |is_chosen: bool| if is_chosen { '*' } else { ' ' };
    let mut row = |is_chosen: bool, [flag, kind, api, compiler, precision, name]: [&str; 6]| {
        let mark = mark(is_chosen);
        let _ = writeln!(table, "{mark} {flag:<11} {kind:<15} {api:<12} {compiler:<9} {precision:<10} {name}");
    };
    row(chosen.is_err(), ["cpu", "CPU", "flex", "Rust", cpu_precisions(), &cpu_name()]);
    let mut vulkan = 0;
    for adapter in &adapters {
        let flag = match adapter.api {
            adapters::Api::Vulkan => {
                vulkan += 1;
                format!("vulkan:{}", vulkan - 1)
            }
            adapters::Api::Metal => "metal".to_string(),
            adapters::Api::Dx12 => "auto".to_string(),
        };
        let is_chosen = chosen.as_ref().is_ok_and(|picked| std::ptr::eq(*picked, adapter));
        let (kind, api) = (adapter.kind.to_string(), adapter.api.to_string());
        let buffers = bytesize::ByteSize(adapter.max_buffer_bytes);
        let name = format!("{} ({}), buffers up to {buffers}", adapter.name, adapter.driver);
        row(is_chosen, [&flag, &kind, &api, adapter.compiler(), adapter.precisions(), &name]);
    }
    let why = match &chosen {
        Ok(adapter) => &adapter.name,
        Err(why) => why,
    };
    let _ = writeln!(table, "\n* is what '--device auto' takes: {why}.");
    table.push_str("How much memory a device has is not told by its graphics API.\n");
    table.push_str(if cfg!(feature = "cuda") {
        "CUDA is part of this build, but its devices are not listed: ask for one with '--device cuda:N'.\n"
    } else {
        "CUDA is not part of this build ('--features cuda' adds it).\n"
    });
    table
}

fn cpu_precisions() -> &'static str {
    if has_bf16() { "f32, bf16" } else { "f32" }
}

fn cpu_name() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{threads} threads, {}", std::env::consts::ARCH)
}
