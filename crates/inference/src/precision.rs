//! What convolutions compute in, and which device has it.

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;

/// What tensors hold, or what convolutions multiply in. They sum in f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As the model has it.
    #[default]
    F32,
    /// On GPUs: weights and what runs between the layers in two bytes each, 11 bits of precision.
    F16,
    /// On CPUs: weights and pixels rounded to bfloat16, 8 bits of precision, and twice as many products at once.
    Bf16,
}

impl Precision {
    /// What a device's tensors hold.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            // The CPU kernels round on their way.
            Self::F32 | Self::Bf16 => DType::F32,
        }
    }

    /// How far logits may be from the model's own, as a part of the largest of them. Measured on the golden pictures:
    /// 2e-6, 7e-3 (with Burn's kernels 1.5e-2) and 2e-2.
    pub(super) fn tolerance(self) -> f32 {
        match self {
            Self::F32 => 1e-4,
            Self::F16 => 4e-2,
            Self::Bf16 => 5e-2,
        }
    }
}

impl FromStr for Precision {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// Why a precision is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrecisionError {
    /// The processor lacks the instructions.
    #[error("--precision bf16 needs a processor with AVX-512 BF16, which this one is not. Leave it at f32.")]
    NoBf16,
    /// Another device was chosen.
    #[error("--precision bf16 is for the CPU, but the device is {device}. Leave it at f32, or add --device cpu.")]
    NotTheCpu {
        /// The device's name.
        device: String,
    },
    /// A CPU, or a GPU without it.
    #[error("--precision f16 is for GPUs that have it, which {device} has not. 'kiln devices' lists what each has.")]
    NoF16 {
        /// The device's name.
        device: String,
    },
    /// The network runs operator by operator.
    #[error(
        "--precision f16 is for fused models, and '{model}' has a layer that Kiln has no kernel for. Leave it at f32."
    )]
    NotFused {
        /// The model's name.
        model: &'static str,
    },
}
