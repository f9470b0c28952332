#include "textflag.h"
#include "neon_arm64.h"

// func columnsNEON(lanes *uint64, row *byte, weight uint64, n int)
TEXT ·columnsNEON(SB), NOSPLIT, $0-32
	MOVD lanes+0(FP), R0
	MOVD row+8(FP), R1
	MOVD weight+16(FP), R2
	MOVD n+24(FP), R3
	VDUP R2, V31.H8
	MOVD $255, R2
	VDUP R2, V30.H8

sixteen:
	VLD1.P 16(R1), [V0.B16]
	VLD2   (R0), [V2.D2, V3.D2] // the words of even samples, and those of odd ones
	VUSHR  $8, V0.H8, V1.H8
	VAND   V30.B16, V0.B16, V0.B16
	MLA(31, 0, 2)
	MLA(31, 1, 3)
	VST2.P [V2.D2, V3.D2], 32(R0)
	SUBS   $16, R3, R3
	BNE    sixteen
	RET
