//! The options of engines, and the values of `--device`, `--kernels`, `--resize` and `--precision`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use burn::tensor::DType;
use kiln_kernels::Kernels;

/// The options of an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Maximum number of images in a batch.
    pub max_batch_size: usize,
    /// The number format of tensors or products.
    pub precision: Precision,
    /// The kernels.
    pub kernels: KernelChoice,
    /// The device that resizes images.
    pub resize: ResizeChoice,
    /// The largest crop region that is kept for the device to resize, in bytes.
    pub max_crop_bytes: usize,
    /// The folder of the kernel selection cache; `None` disables the cache.
    pub cache: Option<PathBuf>,
}

impl Options {
    /// Returns options with f32, automatic kernels and resizing, and without a cache.
    pub fn new(max_batch_size: usize) -> Self {
        Self {
            max_batch_size,
            precision: Precision::F32,
            kernels: KernelChoice::Auto,
            resize: ResizeChoice::Auto,
            max_crop_bytes: 1 << 20,
            cache: None,
        }
    }
}

/// A value of `--device`. Whether the machine has such a device is checked later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU, if there is one, or else the CPU. Software adapters do not count as GPUs.
    Auto,
    /// The CPU.
    Cpu,
    /// The first Vulkan adapter, GPUs before software adapters; or the adapter with that number in `kiln devices`.
    Vulkan(Option<usize>),
    /// The first Metal adapter.
    Metal,
    /// The CUDA device with that number.
    Cuda(usize),
}

/// A text that is not a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown device '{0}'; use auto, cpu, vulkan, vulkan:N, metal, cuda or cuda:N")]
pub struct UnknownDevice(String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownDevice(text.to_string());
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse::<usize>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("vulkan", index) => Ok(Self::Vulkan(index)),
            ("metal", None) => Ok(Self::Metal),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Vulkan(None) => f.write_str("vulkan"),
            Self::Vulkan(Some(index)) => write!(f, "vulkan:{index}"),
            Self::Metal => f.write_str("metal"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// One device, or several that serve the same queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChoices(Vec<DeviceChoice>);

impl DeviceChoices {
    /// Returns the devices in the order in which they were given; at least one, without duplicates.
    pub fn all(&self) -> &[DeviceChoice] {
        &self.0
    }
}

impl From<DeviceChoice> for DeviceChoices {
    fn from(choice: DeviceChoice) -> Self {
        Self(vec![choice])
    }
}

impl FromStr for DeviceChoices {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let choices = text.split(',').map(|one| one.trim().parse()).collect::<Result<Vec<DeviceChoice>, _>>()?;
        let is_duplicate = |(index, choice)| choices[..index].contains(choice);
        let is_mixed = choices.len() > 1 && choices.contains(&DeviceChoice::Auto);
        if is_mixed || choices.iter().enumerate().any(is_duplicate) {
            return Err(UnknownDevice(text.to_string()));
        }
        Ok(Self(choices))
    }
}

/// A value of `--kernels`: the implementation of the network's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The faster one: measured at the first start on a GPU, and cached.
    #[default]
    Auto,
    /// Kiln's kernels.
    Fused,
    /// Burn's kernels.
    Stock,
}

impl From<Kernels> for KernelChoice {
    fn from(kernels: Kernels) -> Self {
        match kernels {
            Kernels::Fused(_) => Self::Fused,
            Kernels::Stock => Self::Stock,
        }
    }
}

impl FromStr for KernelChoice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "fused" => Ok(Self::Fused),
            "stock" => Ok(Self::Stock),
            _ => Err(()),
        }
    }
}

/// A value of `--resize`: the device that resizes images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResizeChoice {
    /// A GPU with Kiln's kernels, or else the CPU. Software adapters do not count as GPUs.
    #[default]
    Auto,
    /// The CPU: the threads that decode.
    Cpu,
    /// The GPU.
    Gpu,
}

impl FromStr for ResizeChoice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err(()),
        }
    }
}

/// A value of `--precision`: the number format of tensors, or of the products in convolutions. Sums are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The format of the model's weights.
    #[default]
    F32,
    /// On GPUs: weights and activations have two bytes each, with 11 bits of precision.
    F16,
    /// On CPUs: weights and activations are rounded to bfloat16, 8 bits of precision. An instruction computes twice as many
    /// products.
    Bf16,
}

impl Precision {
    /// Returns the type of tensors on the device.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            // The CPU kernels round internally.
            Self::F32 | Self::Bf16 => DType::F32,
        }
    }

    /// Returns the allowed difference from the reference logits, relative to the largest of them. The differences measured on
    /// the reference images are 2e-6 (f32), 7e-3 (f16; 1.5e-2 with Burn's kernels) and 2e-2 (bf16).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_choices_display_and_parse() {
        for text in ["auto", "cpu", "vulkan", "vulkan:1", "metal", "cuda:2"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    }

    #[test]
    fn unknown_devices_are_refused() {
        for text in ["", "gpu", "cpu:0", "auto:1", "metal:1", "vulkan:", "vulkan:x", "cuda:-1", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn device_list_is_separated_by_commas() {
        let several: DeviceChoices = "cuda:0, cuda:1".parse().unwrap();
        assert_eq!(several.all(), [DeviceChoice::Cuda(0), DeviceChoice::Cuda(1)]);
        for text in ["", "cpu,", "cuda:0,cuda", "auto,cpu", "vulkan,vulkan"] {
            assert!(text.parse::<DeviceChoices>().is_err(), "{text}");
        }
    }
}
