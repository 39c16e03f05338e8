//! The reasons for which an engine does not start, or a precision is not available.

use model_import::LoadError;

use crate::device::ChosenDevice;
use crate::model::Model;
use crate::model::onnx_model::LoadFileError;

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The weights do not fit the network.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The network of an ONNX file does not run on the device.
    #[error(transparent)]
    File(#[from] LoadFileError),
    /// The precision is not available for this model.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The device cannot run the fused kernels.
    #[error(
        "--kernels fused is not available on {device}, whose kernels are compiled by {compiler}. Use --kernels auto, or a \
         build without the features 'vulkan' and 'metal'."
    )]
    NoFused {
        /// The device's name.
        device: String,
        /// The device's kernel compiler.
        compiler: &'static str,
    },
    /// The CPU device does not resize images.
    #[error("--resize gpu requires a GPU, but the device is {device}. Use --resize auto.")]
    NoResize {
        /// The device's name.
        device: String,
    },
    /// The device cannot run the model.
    #[error(
        "model '{model}' does not run on {device}: {reason}. Use a smaller --max-batch-size or another --device; \
         'kiln devices' lists the devices."
    )]
    WarmUp {
        /// The model's name.
        model: String,
        /// The device's name.
        device: String,
        /// The reason that the device reports.
        reason: String,
    },
    /// The model runs, but its logits differ from the reference logits.
    #[error(
        "model '{model}' computes wrong logits on {device}: {reason}. Use another --device. If every device fails, the \
         weights are damaged (they may have NaN or infinity), or the reference logits belong to other weights."
    )]
    SelfTest {
        /// The model's name.
        model: String,
        /// The device's name.
        device: String,
        /// The difference from the reference logits.
        reason: String,
    },
}

impl StartError {
    /// Returns [`StartError::WarmUp`] for a model on a device.
    pub(super) fn warm_up(model: &Model, device: &ChosenDevice, reason: String) -> Self {
        Self::WarmUp { model: model.name().to_string(), device: device.info.name.clone(), reason }
    }
}

/// Why a precision is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrecisionError {
    /// The CPU lacks the instructions.
    #[error("--precision bf16 requires a CPU with AVX-512 BF16, which this CPU lacks. Use --precision f32.")]
    NoBf16,
    /// The device is not the CPU.
    #[error("--precision bf16 requires the CPU, but the device is {device}. Use --precision f32, or add --device cpu.")]
    NotTheCpu {
        /// The device's name.
        device: String,
    },
    /// The device is the CPU, or a GPU without f16.
    #[error(
        "--precision f16 requires a GPU with f16, which {device} lacks. 'kiln devices' lists each device's precisions."
    )]
    NoF16 {
        /// The device's name.
        device: String,
    },
    /// The network runs operator by operator.
    #[error(
        "--precision f16 requires a fused model, but Kiln has no kernel for a layer of '{model}'. Use --precision f32."
    )]
    NotFused {
        /// The model's name.
        model: String,
    },
}
