#include "textflag.h"
#include "neon_arm64.h"

// Eight inner samples of the sixteen that are loaded: above in V0 (left), V1 and
// V2 (right), row in V3 to V5, below in V6 to V8. UADDL_ and its kin are those
// of the half; PLAIN are its counts.
#define EIGHT(UADDL_, USUBL_, VUADDW_, VUSHLL_, B, PLAIN) \
	UADDL_(6, 0, 9)                 \ // left column, outer two
	UADDL_(8, 2, 10)                \ // right column, outer two
	VSUB    V9.H8, V10.H8, V11.H8   \
	VADD    V9.H8, V10.H8, V9.H8    \ // corners
	USUBL_(3, 5, 10)                \
	VADD    V10.H8, V11.H8, V11.H8  \
	VADD    V10.H8, V11.H8, V11.H8  \ // across
	USUBL_(0, 6, 12)                \
	USUBL_(2, 8, 13)                \
	VADD    V13.H8, V12.H8, V12.H8  \
	USUBL_(1, 7, 13)                \
	VADD    V13.H8, V12.H8, V12.H8  \
	VADD    V13.H8, V12.H8, V12.H8  \ // down
	UADDL_(5, 3, 13)                \
	VUADDW_ V1.B, V13.H8, V13.H8    \
	VUADDW_ V7.B, V13.H8, V13.H8    \ // the four next to it
	VUSHLL_ $2, V4.B, V14.H8        \
	VSUB    V14.H8, V13.H8, V14.H8  \ // Laplacian
	VADD    V14.H8, V13.H8, V13.H8  \
	SABAL(13, 9, 18)                \ // noise: corners - 2 next + 4 own
	SABAL2(13, 9, 18)               \
	SMLAL(14, 14, 16)               \
	SMLAL2(14, 14, 16)              \
	SMLAL(11, 11, 17)               \
	SMLAL2(11, 11, 17)              \
	SMLAL(12, 12, 17)               \
	SMLAL2(12, 12, 17)              \
	ABS(11, 11)                     \
	SABA(26, 12, 11)                \
	CMHI(11, 25, 13)                \
	VSUB    V13.H8, PLAIN, PLAIN

// func stencilNEON(above, row, below *byte, n int, plain *uint16, acc *[accumulators]uint64)
TEXT ·stencilNEON(SB), NOSPLIT, $0-48
	MOVD  above+0(FP), R1
	MOVD  row+8(FP), R4
	MOVD  below+16(FP), R7
	MOVD  n+24(FP), R10
	MOVD  plain+32(FP), R11
	MOVD  acc+40(FP), R12
	SUB   $1, R1, R0
	ADD   $1, R1, R2
	SUB   $1, R4, R3
	ADD   $1, R4, R5
	SUB   $1, R7, R6
	ADD   $1, R7, R8
	VEOR  V16.B16, V16.B16, V16.B16 // squares of the Laplacian
	VEOR  V17.B16, V17.B16, V17.B16 // squares of the gradients
	VEOR  V18.B16, V18.B16, V18.B16 // noise
	VEOR  V19.B16, V19.B16, V19.B16 // squares of samples
	VEOR  V20.B16, V20.B16, V20.B16 // samples
	VEOR  V21.B16, V21.B16, V21.B16 // dark
	VEOR  V22.B16, V22.B16, V22.B16 // bright
	VEOR  V26.B16, V26.B16, V26.B16
	VMOVI $16, V23.B16              // darkest
	VMOVI $240, V24.B16             // brightest
	MOVD  $97, R13                  // edgeStep+1
	VDUP  R13, V25.H8

vectors:
	VLD1.P 16(R0), [V0.B16]
	VLD1.P 16(R1), [V1.B16]
	VLD1.P 16(R2), [V2.B16]
	VLD1.P 16(R3), [V3.B16]
	VLD1.P 16(R4), [V4.B16]
	VLD1.P 16(R5), [V5.B16]
	VLD1.P 16(R6), [V6.B16]
	VLD1.P 16(R7), [V7.B16]
	VLD1.P 16(R8), [V8.B16]
	VLD1   (R11), [V27.H8, V28.H8]
	EIGHT(UADDL, USUBL, VUADDW, VUSHLL, B8, V27.H8)
	EIGHT(UADDL2, USUBL2, VUADDW2, VUSHLL2, B16, V28.H8)
	VST1.P [V27.H8, V28.H8], 32(R11)
	UMULL(4, 4, 9)
	UMULL2(4, 4, 10)
	UADALP_H(9, 19)
	UADALP_H(10, 19)
	UADALP_B(4, 20)
	CMHS(4, 23, 11)
	VSUB   V11.B16, V21.B16, V21.B16
	CMHS(24, 4, 12)
	VSUB   V12.B16, V22.B16, V22.B16
	SUBS   $16, R10, R10
	BNE    vectors

	VUADDLV V16.S4, V16
	VUADDLV V17.S4, V17
	VUADDLV V18.S4, V18
	VUADDLV V19.S4, V19
	VUADDLV V20.H8, V20
	VUADDLV V21.B16, V21
	VUADDLV V22.B16, V22
	VLD1    (R12), [V0.D2, V1.D2, V2.D2, V3.D2]
	VZIP1   V17.D2, V16.D2, V16.D2
	VZIP1   V19.D2, V18.D2, V18.D2
	VZIP1   V21.D2, V20.D2, V20.D2
	VADD    V16.D2, V0.D2, V0.D2
	VADD    V18.D2, V1.D2, V1.D2
	VADD    V20.D2, V2.D2, V2.D2
	VADD    V22.D2, V3.D2, V3.D2
	VST1    [V0.D2, V1.D2, V2.D2, V3.D2], (R12)
	RET
