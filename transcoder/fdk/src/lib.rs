//! Fraunhofer's AAC encoder (FDK) as C functions, in the copy that suits the processor.
//!
//! One copy runs anywhere; one is compiled for processors with AVX2 and BMI, and is chosen at run
//! time. FDK computes in integers: both write the same bytes, which the tests hold them to.

#![allow(unsafe_code)]

pub use fdk_aac_sys as sys;
use sys::{
    AACENC_BufDesc, AACENC_ERROR, AACENC_InArgs, AACENC_InfoStruct, AACENC_OutArgs, AACENC_PARAM,
    HANDLE_AACENCODER, UINT,
};

/// Entry points of one copy. A handle belongs to the copy that opened it.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// `aacEncOpen`
    pub open: unsafe extern "C" fn(*mut HANDLE_AACENCODER, UINT, UINT) -> AACENC_ERROR,
    /// `aacEncClose`
    pub close: unsafe extern "C" fn(*mut HANDLE_AACENCODER) -> AACENC_ERROR,
    /// `aacEncoder_SetParam`
    pub set: unsafe extern "C" fn(HANDLE_AACENCODER, AACENC_PARAM, UINT) -> AACENC_ERROR,
    /// `aacEncEncode`
    pub encode: unsafe extern "C" fn(
        HANDLE_AACENCODER,
        *const AACENC_BufDesc,
        *const AACENC_BufDesc,
        *const AACENC_InArgs,
        *mut AACENC_OutArgs,
    ) -> AACENC_ERROR,
    /// `aacEncInfo`
    pub info: unsafe extern "C" fn(HANDLE_AACENCODER, *mut AACENC_InfoStruct) -> AACENC_ERROR,
}

impl Encoder {
    /// The copy for any processor.
    pub const PORTABLE: Encoder = Encoder {
        open: sys::aacEncOpen,
        close: sys::aacEncClose,
        set: sys::aacEncoder_SetParam,
        encode: sys::aacEncEncode,
        info: sys::aacEncInfo,
    };

    /// The copy for x86-64 of the third level, where it is part of this build and the processor is
    /// of that level.
    pub fn v3() -> Option<Encoder> {
        #[cfg(fdk_v3)]
        if v3::runs_here() {
            return Some(v3::ENCODER);
        }
        None
    }

    /// The fastest that runs here.
    pub fn fastest() -> Encoder {
        Encoder::v3().unwrap_or(Encoder::PORTABLE)
    }
}

#[cfg(fdk_v3)]
mod v3 {
    use super::*;

    pub(super) const ENCODER: Encoder = Encoder {
        open: segue_fdk_v3_open,
        close: segue_fdk_v3_close,
        set: segue_fdk_v3_set,
        encode: segue_fdk_v3_encode,
        info: segue_fdk_v3_info,
    };

    /// All that the third level has beyond the first (System V ABI, AMD64 supplement §3.1.1).
    pub(super) fn runs_here() -> bool {
        macro_rules! all {
            ($($feature:tt)*) => { $(is_x86_feature_detected!($feature))&&* };
        }
        all!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "cmpxchg16b")
            && all!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe" "xsave")
    }

    unsafe extern "C" {
        fn segue_fdk_v3_open(_: *mut HANDLE_AACENCODER, _: UINT, _: UINT) -> AACENC_ERROR;
        fn segue_fdk_v3_close(_: *mut HANDLE_AACENCODER) -> AACENC_ERROR;
        fn segue_fdk_v3_set(_: HANDLE_AACENCODER, _: AACENC_PARAM, _: UINT) -> AACENC_ERROR;
        fn segue_fdk_v3_encode(
            _: HANDLE_AACENCODER,
            _: *const AACENC_BufDesc,
            _: *const AACENC_BufDesc,
            _: *const AACENC_InArgs,
            _: *mut AACENC_OutArgs,
        ) -> AACENC_ERROR;
        fn segue_fdk_v3_info(_: HANDLE_AACENCODER, _: *mut AACENC_InfoStruct) -> AACENC_ERROR;
    }
}
