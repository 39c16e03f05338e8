//! What `--device`, `--kernels` and `--resize` may say. Whether there is such a device is another question.

use std::fmt;
use std::str::FromStr;

use kiln_kernels::Kernels;

/// A wish for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU where there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first Vulkan adapter, GPUs before software; or the one with that number in `kiln devices`.
    Vulkan(Option<usize>),
    /// The first Metal adapter.
    Metal,
    /// The CUDA device with that number.
    Cuda(usize),
}

/// A text that names no kind of device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no device; there are auto, cpu, vulkan, vulkan:N, metal, cuda and cuda:N")]
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

/// One device, or several that work side by side on the same queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChoices(Vec<DeviceChoice>);

impl DeviceChoices {
    /// In the order in which they were named; at least one, and none twice.
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
        let is_twice = |(index, choice)| choices[..index].contains(choice);
        let is_mixed = choices.len() > 1 && choices.contains(&DeviceChoice::Auto);
        if is_mixed || choices.iter().enumerate().any(is_twice) {
            return Err(UnknownDevice(text.to_string()));
        }
        Ok(Self(choices))
    }
}

/// A wish for an implementation of the network's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The quicker one: measured at the first start on a GPU, and remembered.
    #[default]
    Auto,
    /// Kiln's own.
    Fused,
    /// Burn's.
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

/// A wish for who resizes pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResizeChoice {
    /// A real GPU with Kiln's own kernels, else the CPU.
    #[default]
    Auto,
    /// The threads that decode.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_reads_back_as_it_shows() {
        for text in ["auto", "cpu", "vulkan", "vulkan:1", "metal", "cuda:2"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "gpu", "cpu:0", "auto:1", "metal:1", "vulkan:", "vulkan:x", "cuda:-1", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn several_devices_stand_with_commas() {
        let several: DeviceChoices = "cuda:0, cuda:1".parse().unwrap();
        assert_eq!(several.all(), [DeviceChoice::Cuda(0), DeviceChoice::Cuda(1)]);
        for text in ["", "cpu,", "cuda:0,cuda", "auto,cpu", "vulkan,vulkan"] {
            assert!(text.parse::<DeviceChoices>().is_err(), "{text}");
        }
    }
}
