#include "textflag.h"
#include "neon_arm64.h"

// func pairsNEON(dst *int16, src *byte, n int)
TEXT ·pairsNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2

pairs:
	VLD1.P 64(R1), [V0.B16, V1.B16, V2.B16, V3.B16]
	UADDLP(0, 0)
	UADDLP(1, 1)
	UADDLP(2, 2)
	UADDLP(3, 3)
	VST1.P [V0.H8, V1.H8, V2.H8, V3.H8], 64(R0)
	SUBS   $64, R2, R2
	BNE    pairs
	RET

// func dotsNEON(out *[32][4]int32, rows *int16, stride int, from *[32]int32, weights *int16, n int)
TEXT ·dotsNEON(SB), NOSPLIT, $0-48
	MOVD out+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD stride+16(FP), R2
	MOVD from+24(FP), R3
	MOVD weights+32(FP), R4
	MOVD n+40(FP), R5
	LSL  $1, R2, R2
	MOVD $32, R6

output:
	MOVW.P 4(R3), R7
	ADD    R7<<1, R1, R8 // the four rows
	ADD    R2, R8, R9
	ADD    R2, R9, R10
	ADD    R2, R10, R11
	MOVD   R5, R12
	VEOR   V0.B16, V0.B16, V0.B16
	VEOR   V1.B16, V1.B16, V1.B16
	VEOR   V2.B16, V2.B16, V2.B16
	VEOR   V3.B16, V3.B16, V3.B16
	VEOR   V4.B16, V4.B16, V4.B16
	VEOR   V5.B16, V5.B16, V5.B16
	VEOR   V6.B16, V6.B16, V6.B16
	VEOR   V7.B16, V7.B16, V7.B16

units:
	VLD1.P 32(R4), [V16.H8, V17.H8]
	VLD1.P 32(R8), [V18.H8, V19.H8]
	VLD1.P 32(R9), [V20.H8, V21.H8]
	VLD1.P 32(R10), [V22.H8, V23.H8]
	VLD1.P 32(R11), [V24.H8, V25.H8]
	SMLAL(16, 18, 0)
	SMLAL(16, 20, 1)
	SMLAL(16, 22, 2)
	SMLAL(16, 24, 3)
	SMLAL2(16, 18, 4)
	SMLAL2(16, 20, 5)
	SMLAL2(16, 22, 6)
	SMLAL2(16, 24, 7)
	SMLAL(17, 19, 0)
	SMLAL(17, 21, 1)
	SMLAL(17, 23, 2)
	SMLAL(17, 25, 3)
	SMLAL2(17, 19, 4)
	SMLAL2(17, 21, 5)
	SMLAL2(17, 23, 6)
	SMLAL2(17, 25, 7)
	SUBS   $16, R12, R12
	BNE    units

	VADD   V4.S4, V0.S4, V0.S4
	VADD   V5.S4, V1.S4, V1.S4
	VADD   V6.S4, V2.S4, V2.S4
	VADD   V7.S4, V3.S4, V3.S4
	VADDP  V1.S4, V0.S4, V0.S4
	VADDP  V3.S4, V2.S4, V2.S4
	VADDP  V2.S4, V0.S4, V0.S4
	VST1.P [V0.S4], 16(R0)
	SUBS   $1, R6, R6
	BNE    output
	RET
