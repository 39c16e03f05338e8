//! `kiln devices`: what is here, and what `auto` would take.

use std::fmt::Write as _;

use crate::inference::{adapters, device};

/// A table of this machine's devices.
pub fn devices() -> String {
    let adapters = adapters::enumerate();
    let chosen = device::pick_auto(&adapters);
    let mut table = String::from("  DEVICE      KIND            NAME AND DRIVER\n");
    let mark = |is_chosen: bool| if is_chosen { '*' } else { ' ' };
    let _ = writeln!(table, "{} {:<11} {:<15} {}", mark(chosen.is_err()), "cpu", "CPU", cpu_name());
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
        let _ = writeln!(
            table,
            "{} {flag:<11} {:<15} {} ({})",
            mark(is_chosen),
            adapter.kind.to_string(),
            adapter.name,
            adapter.driver
        );
    }
    match &chosen {
        Ok(adapter) => {
            let _ = writeln!(table, "\n* is what '--device auto' takes: {}.", adapter.name);
        }
        Err(why) => {
            let _ = writeln!(table, "\n* is what '--device auto' takes: {why}.");
        }
    }
    table.push_str(if cfg!(feature = "cuda") {
        "CUDA is part of this build, but its devices are not listed: ask for one with '--device cuda:N'.\n"
    } else {
        "CUDA is not part of this build ('--features cuda' adds it).\n"
    });
    table
}

fn cpu_name() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{threads} threads, {}", std::env::consts::ARCH)
}
