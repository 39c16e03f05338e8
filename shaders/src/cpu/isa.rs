//! The instruction sets of the CPU kernels, and the dispatch of a kernel to one of them.

use super::simd::Simd;
#[cfg(target_arch = "aarch64")]
use super::simd::neon::Neon;
use super::simd::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::simd::x86::{Avx2, Avx512, Avx512Bf16};

/// An instruction set of the CPU kernels.
///
/// A value exists only if the processor has the instruction set. The kernels rely on that.
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
    /// Returns the f32 instruction sets of this processor, the fastest first. The portable one always exists and is last.
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

    /// Returns the instruction set whose dense convolutions multiply in bfloat16, if the processor has one.
    pub fn bf16() -> Option<Self> {
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

    /// Returns the fastest f32 instruction set of this processor.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// Returns the usual name in lower case, for example `avx2`.
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

    /// Returns whether dense convolutions multiply in bfloat16.
    pub(super) fn is_bf16(self) -> bool {
        self != self.without_bf16()
    }

    /// Returns the instruction set that does the same with f32 products.
    pub(super) fn without_bf16(self) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => Self(Kind::Avx512),
            _ => self,
        }
    }

    /// Runs `kernel`, compiled for this instruction set.
    ///
    /// # Safety
    ///
    /// The contract of the kernel, without the instruction set: a value of this type proves that the processor has it.
    pub(super) unsafe fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512bf16,avx2,fma")]
        unsafe fn avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: this function requires the instruction set, and the caller keeps the kernel's contract.
            unsafe { kernel.run::<Avx512Bf16>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx2,fma")]
        unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: this function requires the instruction set, and the caller keeps the kernel's contract.
            unsafe { kernel.run::<Avx512>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: this function requires the instruction set, and the caller keeps the kernel's contract.
            unsafe { kernel.run::<Avx2>() }
        }
        #[cfg(target_arch = "aarch64")]
        #[target_feature(enable = "neon")]
        unsafe fn neon<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: this function requires the instruction set, and the caller keeps the kernel's contract.
            unsafe { kernel.run::<Neon>() }
        }
        // SAFETY: a value of this kind exists only if the processor has the instruction set; the caller keeps the rest of
        // the kernel's contract.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512Bf16 if K::USES_BF16 => avx512_bf16(kernel),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512Bf16 | Kind::Avx512 => avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => avx2(kernel),
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => neon(kernel),
                Kind::Portable => kernel.run::<Portable>(),
            }
        }
    }
}

impl Isa {
    /// Returns the number of f32 values in a vector.
    pub(super) fn lanes(self) -> usize {
        struct Lanes;
        impl SafeKernel for Lanes {
            type Output = usize;

            #[inline(always)]
            fn run<S: Simd>(self) -> usize {
                S::LANES
            }
        }
        self.run(Lanes)
    }

    /// Runs a kernel without a contract, compiled for this instruction set.
    pub(super) fn run<K: SafeKernel>(self, kernel: K) -> K::Output {
        // SAFETY: the kernel has no contract besides the instruction set.
        unsafe { self.dispatch(WithoutContract(kernel)) }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A computation that is generic over the vectors, and that [`Isa::dispatch`] compiles for each instruction set.
pub(super) trait Kernel {
    /// The result of the computation.
    type Output;
    /// Whether the kernel differs for bfloat16. If not, it is compiled only for the f32 instruction sets.
    const USES_BF16: bool = false;

    /// Runs the computation. Implementations are `inline(always)`, so that they are compiled with the features of their
    /// caller.
    ///
    /// # Safety
    ///
    /// The processor has `S`, and the caller keeps the contract of the implementing type.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// A computation that checks the memory that it accesses, usually by slices, so that [`Isa::run`] is safe.
///
/// Most loops are plain Rust. They become vector instructions because they are compiled with the features of the instruction
/// set. [`Simd::FUSED`] selects the multiply-add.
pub(super) trait SafeKernel {
    /// The result of the computation.
    type Output;

    /// Runs the computation. Implementations are `inline(always)`, as in [`Kernel::run`].
    fn run<S: Simd>(self) -> Self::Output;
}

struct WithoutContract<K>(K);

impl<K: SafeKernel> Kernel for WithoutContract<K> {
    type Output = K::Output;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Self::Output {
        self.0.run::<S>()
    }
}
