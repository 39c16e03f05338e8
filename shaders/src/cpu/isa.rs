//! Which instruction set the kernels use, and the one place that calls them through it.

use std::sync::{Mutex, PoisonError};

use super::dense::{self, DenseJob, DensePanels};
use super::depthwise::{self, DepthwiseJob};
use super::pooling::{self, PoolJob};
#[cfg(target_arch = "aarch64")]
use super::simd::neon::Neon;
use super::simd::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::simd::{avx2::Avx2, avx512::Avx512, avx512_bf16::Avx512Bf16};

static CHOSEN: Mutex<Option<Isa>> = Mutex::new(None);

/// An instruction set that the CPU kernels are written for.
///
/// A value of this type is only made where the processor has the instruction set, so the kernels may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Isa {
    /// What this processor has, the quickest first. The portable one is always there, and last.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                all.push(Self(Kind::Avx512));
            }
            if avx2 {
                all.push(Self(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Kind::Neon));
        }
        all.push(Self(Kind::Portable));
        all
    }

    /// The instruction set whose dense convolutions multiply in bfloat16, if this processor has one.
    pub fn reduced() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
        {
            return Some(Self(Kind::Avx512Bf16));
        }
        None
    }

    /// The one that weights are packed for from now on: the quickest, unless [`Isa::choose`] was called.
    pub fn in_use() -> Self {
        let chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.unwrap_or_else(|| Self::available()[0])
    }

    /// Decides for networks that are loaded from now on; tests and benchmarks try each in turn.
    pub fn choose(self) {
        *CHOSEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
    }

    /// The name that people know it by, in lower case.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Portable => "portable",
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Defines a method of [`Isa`] that calls a generic function compiled for the instruction set.
macro_rules! compiled_for_each {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($argument:ident: $type:ty) = $module:ident::$function:ident) => {
        impl Isa {
            $(#[$doc])*
            $vis unsafe fn $name(self, $argument: $type) {
                // SAFETY: in each of the three, what the caller of this method promises, who also sees to the features.
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx2,fma")]
                unsafe fn avx512($argument: $type) {
                    unsafe { $module::$function::<Avx512>($argument) }
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($argument: $type) {
                    unsafe { $module::$function::<Avx2>($argument) }
                }
                #[cfg(target_arch = "aarch64")]
                #[target_feature(enable = "neon")]
                unsafe fn neon($argument: $type) {
                    unsafe { $module::$function::<Neon>($argument) }
                }
                // SAFETY: a value of this kind exists, so the processor has the instruction set; the rest is the
                // caller's promise.
                unsafe {
                    match self.0 {
                        #[cfg(target_arch = "x86_64")]
                        Kind::Avx512 | Kind::Avx512Bf16 => avx512($argument),
                        #[cfg(target_arch = "x86_64")]
                        Kind::Avx2 => avx2($argument),
                        #[cfg(target_arch = "aarch64")]
                        Kind::Neon => neon($argument),
                        Kind::Portable => $module::$function::<Portable>($argument),
                    }
                }
            }
        }
    };
}

compiled_for_each! {
    /// Runs a dense convolution whose weights are f32.
    ///
    /// # Safety
    ///
    /// That of [`dense::run`].
    fn dense_f32(job: &DenseJob<'_>) = dense::run
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16,avx2,fma")]
unsafe fn dense_bf16(job: &DenseJob<'_>) {
    // SAFETY: the caller's promises, who also sees to the features.
    unsafe { dense::run::<Avx512Bf16>(job) }
}

compiled_for_each! {
    /// Runs a row of a depthwise convolution.
    ///
    /// # Safety
    ///
    /// That of [`depthwise::run`].
    pub(super) fn depthwise(job: &DepthwiseJob<'_>) = depthwise::run
}

compiled_for_each! {
    /// Runs a pooling window, or a mean over all pixels.
    ///
    /// # Safety
    ///
    /// That of [`pooling::run`].
    pub(super) fn pool(job: &PoolJob) = pooling::run
}

impl Isa {
    /// Runs a dense convolution.
    ///
    /// # Safety
    ///
    /// That of [`dense::run`].
    pub(super) unsafe fn dense(self, job: &DenseJob<'_>) {
        #[cfg(target_arch = "x86_64")]
        if job.weights.is_reduced() {
            // SAFETY: only a value of this kind packs weights so, and where one exists the processor has it.
            return unsafe { dense_bf16(job) };
        }
        // SAFETY: the caller's promises.
        unsafe { self.dense_f32(job) }
    }

    /// Packs dense weights for the register tile of this instruction set. `segment` values of a sum lie side by side.
    pub(super) fn pack_dense(
        self,
        columns: usize,
        [depth, segment]: [usize; 2],
        bias: &[f32],
        weight: impl Fn(usize, usize) -> f32,
    ) -> DensePanels {
        // Only where values are multiplied in pairs.
        #[cfg(not(target_arch = "x86_64"))]
        let _ = segment;
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // The first convolution, of three channels, does not come in eights.
            Kind::Avx512Bf16 if segment % 8 == 0 => DensePanels::pack::<Avx512Bf16>(columns, depth, bias, weight),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx512Bf16 => DensePanels::pack::<Avx512>(columns, depth, bias, weight),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => DensePanels::pack::<Avx2>(columns, depth, bias, weight),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => DensePanels::pack::<Neon>(columns, depth, bias, weight),
            Kind::Portable => DensePanels::pack::<Portable>(columns, depth, bias, weight),
        }
    }
}
