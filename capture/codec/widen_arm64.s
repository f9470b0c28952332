#include "textflag.h"

// func widenNEON(dst *int16, src *byte, n int)
TEXT ·widenNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2

widen:
	VLD1.P 32(R1), [V0.B16, V1.B16]
	VUXTL  V0.B8, V2.H8
	VUXTL2 V0.B16, V3.H8
	VUXTL  V1.B8, V4.H8
	VUXTL2 V1.B16, V5.H8
	VST1.P [V2.H8, V3.H8, V4.H8, V5.H8], 64(R0)
	SUBS   $32, R2, R2
	BNE    widen
	RET
