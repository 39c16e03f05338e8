//! What the CPU device is told once, before an engine is started on it: how many threads, and in what it multiplies.

use kiln_kernels::cpu::{Isa, thread_team};

use super::precision::{Precision, PrecisionError};
use super::{ChosenDevice, Config};

/// One thread for each physical core that the process may use.
pub fn default_threads() -> usize {
    thread_team::default_count()
}

/// Decides for all engines of the process; the number of threads is decided by the first call.
///
/// # Errors
///
/// A precision that the device does not have.
pub fn configure_cpu(config: &Config, device: &ChosenDevice) -> Result<(), PrecisionError> {
    let name = || device.info.name.clone();
    let isa = match config.precision {
        Precision::Bf16 if device.is_gpu_runtime => return Err(PrecisionError::NotTheCpu { device: name() }),
        Precision::F16 if !device.has_f16() => return Err(PrecisionError::NoF16 { device: name() }),
        Precision::Bf16 => Isa::bf16().ok_or(PrecisionError::NoBf16)?,
        Precision::F32 | Precision::F16 => Isa::available()[0],
    };
    thread_team::configure(config.threads);
    isa.choose();
    if !device.is_gpu_runtime {
        tracing::info!(instructions = isa.name(), threads = thread_team::count(), "CPU kernels chosen");
    }
    Ok(())
}

/// Whether this processor multiplies in bfloat16.
pub fn has_bf16() -> bool {
    Isa::bf16().is_some()
}
