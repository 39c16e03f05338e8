//! The threads and the instruction set of the CPU kernels, chosen for a device before engines start on it.

use kiln_kernels::cpu::{self, Context, Isa};

use super::Config;
use super::device::ChosenDevice;
use super::error::PrecisionError;
use super::options::Precision;

/// Returns the default number of threads: the physical cores that the process may use.
pub fn default_threads() -> usize {
    cpu::default_threads()
}

/// Returns `device` with the threads and the instruction set of `config`. All engines on the device and its clones share the
/// threads.
///
/// # Errors
///
/// Returns an error if the device does not support the precision.
pub fn configure_cpu(config: &Config, device: ChosenDevice) -> Result<ChosenDevice, PrecisionError> {
    let name = || device.info.name.clone();
    let isa = match config.precision {
        Precision::Bf16 if device.is_gpu_runtime => return Err(PrecisionError::NotTheCpu { device: name() }),
        Precision::F16 if !device.has_f16() => return Err(PrecisionError::NoF16 { device: name() }),
        Precision::Bf16 => Isa::bf16().ok_or(PrecisionError::NoBf16)?,
        Precision::F32 | Precision::F16 => Isa::best(),
    };
    let context = Context::new(isa, config.threads);
    if !device.is_gpu_runtime {
        tracing::info!(instructions = isa.name(), threads = context.threads(), "selected CPU kernels");
    }
    Ok(device.with_cpu_context(context))
}

/// Returns the name of the instruction set that f32 kernels use on this CPU: `avx512`, `avx2`, `neon` or `portable`.
pub fn instruction_set() -> &'static str {
    Isa::best().name()
}

/// Returns true if this CPU multiplies in bfloat16.
pub fn has_bf16() -> bool {
    Isa::bf16().is_some()
}
