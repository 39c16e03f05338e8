//! What the CPU device is told once, before an engine is started on it: how many threads, and in what it multiplies.

use std::str::FromStr;

use kiln_kernels::cpu::{Isa, threads};

use super::{ChosenDevice, Config};

/// What convolutions multiply in. They sum in f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As the model has it.
    #[default]
    F32,
    /// Weights and pixels rounded to bfloat16: 8 bits of precision, and twice as many products at once.
    Bf16,
}

impl FromStr for Precision {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(()),
        }
    }
}

/// Why a precision is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// The processor lacks the instructions.
    #[error("--precision bf16 needs a processor with AVX-512 BF16, which this one is not. Leave it at f32.")]
    NoBf16,
    /// Another device was chosen.
    #[error("--precision bf16 is for the CPU, but the device is {device}. Leave it at f32, or add --device cpu.")]
    NotTheCpu {
        /// The device's name.
        device: String,
    },
}

/// One thread for each physical core that the process may use.
pub fn default_threads() -> usize {
    threads::default_count()
}

/// Decides for all engines of the process; the number of threads is decided by the first call.
///
/// # Errors
///
/// A precision that the device does not have.
pub fn configure_cpu(config: &Config, device: &ChosenDevice) -> Result<(), CpuError> {
    let isa = match config.precision {
        Precision::Bf16 if device.is_gpu_runtime => {
            return Err(CpuError::NotTheCpu { device: device.info.name.clone() });
        }
        Precision::Bf16 => Isa::reduced().ok_or(CpuError::NoBf16)?,
        Precision::F32 => Isa::available()[0],
    };
    threads::configure(config.threads);
    isa.choose();
    if !device.is_gpu_runtime {
        tracing::info!(instructions = isa.name(), threads = threads::count(), "CPU kernels chosen");
    }
    Ok(())
}
