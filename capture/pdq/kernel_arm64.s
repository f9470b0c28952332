#include "textflag.h"
#include "neon_arm64.h"

// func columnsNEON(sums *uint32, pix *byte, stride int, weights *uint32, k, n int)
TEXT ·columnsNEON(SB), NOSPLIT, $0-48
	MOVD sums+0(FP), R0
	MOVD pix+8(FP), R1
	MOVD stride+16(FP), R2
	MOVD weights+24(FP), R3
	MOVD k+32(FP), R4
	MOVD n+40(FP), R5
	MOVD $4, R8

wide:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	MOVD R1, R6
	MOVD R3, R7
	MOVD R4, R9

row:
	VLD1R.P (R7)(R8), [V6.B16]          // the weight is below 256
	VLD1.P  (R6)(R2), [V4.B16, V5.B16]
	UMLAL(6, 4, 0)
	UMLAL2(6, 4, 1)
	UMLAL(6, 5, 2)
	UMLAL2(6, 5, 3)
	SUBS    $1, R9, R9
	BNE     row

	VLD1    (R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VUADDW  V0.H4, V16.S4, V16.S4
	VUADDW2 V0.H8, V17.S4, V17.S4
	VUADDW  V1.H4, V18.S4, V18.S4
	VUADDW2 V1.H8, V19.S4, V19.S4
	VST1.P  [V16.S4, V17.S4, V18.S4, V19.S4], 64(R0)
	VLD1    (R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VUADDW  V2.H4, V16.S4, V16.S4
	VUADDW2 V2.H8, V17.S4, V17.S4
	VUADDW  V3.H4, V18.S4, V18.S4
	VUADDW2 V3.H8, V19.S4, V19.S4
	VST1.P  [V16.S4, V17.S4, V18.S4, V19.S4], 64(R0)
	ADD     $32, R1
	SUBS    $32, R5, R5
	BNE     wide
	RET

// func exactNEON(sums *float64, row *byte, weight float64, n int)
TEXT ·exactNEON(SB), NOSPLIT, $0-32
	MOVD sums+0(FP), R0
	MOVD row+8(FP), R1
	MOVD weight+16(FP), R2
	MOVD n+24(FP), R3
	VDUP R2, V31.D2

eight:
	VLD1.P 8(R1), [V0.B8]
	VUXTL  V0.B8, V0.H8
	VUXTL  V0.H4, V1.S4
	VUXTL2 V0.H8, V2.S4
	VUXTL  V1.S2, V4.D2
	VUXTL2 V1.S4, V5.D2
	VUXTL  V2.S2, V6.D2
	VUXTL2 V2.S4, V7.D2
	VLD1   (R0), [V16.D2, V17.D2, V18.D2, V19.D2]
	UCVTF(4, 4)
	UCVTF(5, 5)
	UCVTF(6, 6)
	UCVTF(7, 7)
	FMUL_D(31, 4, 4)
	FMUL_D(31, 5, 5)
	FMUL_D(31, 6, 6)
	FMUL_D(31, 7, 7)
	FADD_D(4, 16, 16)
	FADD_D(5, 17, 17)
	FADD_D(6, 18, 18)
	FADD_D(7, 19, 19)
	VST1.P [V16.D2, V17.D2, V18.D2, V19.D2], 64(R0)
	SUBS   $8, R3, R3
	BNE    eight
	RET

// func acrossNEON(out, sums *uint32, from *int32, points int, tent *uint32, n int)
TEXT ·acrossNEON(SB), NOSPLIT, $0-48
	MOVD out+0(FP), R0
	MOVD sums+8(FP), R1
	MOVD from+16(FP), R2
	MOVD points+24(FP), R3
	MOVD tent+32(FP), R4
	MOVD n+40(FP), R5

point:
	MOVW.P 4(R2), R6
	ADD    R6<<2, R1, R6
	MOVD   R4, R7
	MOVD   R5, R8
	VEOR   V16.B16, V16.B16, V16.B16
	VEOR   V17.B16, V17.B16, V17.B16

taps:
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R6), [V4.S4, V5.S4, V6.S4, V7.S4]
	MLA(0, 4, 16)
	MLA(1, 5, 17)
	MLA(2, 6, 16)
	MLA(3, 7, 17)
	SUBS   $16, R8, R8
	BNE    taps

	VADD   V17.S4, V16.S4, V16.S4
	VADDV  V16.S4, V16
	FMOVS  F16, (R0)
	ADD    $4, R0
	SUBS   $1, R3, R3
	BNE    point
	RET

// func multiplyNEON(out, minus, plus *float64, basis *[16][32]float64, n int)
TEXT ·multiplyNEON(SB), NOSPLIT, $0-40
	MOVD out+0(FP), R0
	MOVD minus+8(FP), R1
	MOVD plus+16(FP), R2
	MOVD n+32(FP), R4
	LSL  $3, R4, R5 // bytes in a row

columns8:
	MOVD basis+24(FP), R6
	MOVD R0, R7
	MOVD $8, R8 // two rows of the basis at a time: an odd frequency, an even one

rows2:
	ADD  $256, R6, R9
	MOVD R1, R10
	MOVD R2, R11
	MOVD $32, R12
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16

terms:
	VLD1R.P 8(R6), [V16.D2]
	VLD1R.P 8(R9), [V17.D2]
	VLD1.P  (R10)(R5), [V20.D2, V21.D2, V22.D2, V23.D2]
	VLD1.P  (R11)(R5), [V24.D2, V25.D2, V26.D2, V27.D2]
	FMUL_D(16, 20, 20)
	FMUL_D(16, 21, 21)
	FMUL_D(16, 22, 22)
	FMUL_D(16, 23, 23)
	FMUL_D(17, 24, 24)
	FMUL_D(17, 25, 25)
	FMUL_D(17, 26, 26)
	FMUL_D(17, 27, 27)
	FADD_D(20, 0, 0)
	FADD_D(21, 1, 1)
	FADD_D(22, 2, 2)
	FADD_D(23, 3, 3)
	FADD_D(24, 4, 4)
	FADD_D(25, 5, 5)
	FADD_D(26, 6, 6)
	FADD_D(27, 7, 7)
	SUBS    $1, R12, R12
	BNE     terms

	VST1.P [V0.D2, V1.D2, V2.D2, V3.D2], (R7)(R5)
	VST1.P [V4.D2, V5.D2, V6.D2, V7.D2], (R7)(R5)
	MOVD   R9, R6 // behind the second row
	SUBS   $1, R8, R8
	BNE    rows2

	ADD  $64, R0
	ADD  $64, R1
	ADD  $64, R2
	SUBS $8, R4, R4
	BNE  columns8
	RET

// Four gradients: V0 less V1, in percent of 255, cut to a whole number, added
// to V16.
#define GRADIENTS(u, v) \
	FSUB_S(v, u, v)    \
	FMUL_S(30, v, v)   \
	FDIV_S(31, v, v)   \
	FCVTZS(v, v)       \
	ABS(v, v)

// func gradientsNEON(grid *codec.Grid) int
TEXT ·gradientsNEON(SB), NOSPLIT, $0-16
	MOVD  grid+0(FP), R0
	ADD   $4, R0, R1    // the neighbor to the right
	ADD   $256, R0, R2  // and below
	FMOVS $100.0, F30
	VDUP  V30.S[0], V30.S4
	MOVD  $0x437f0000, R3 // 255
	VDUP  R3, V31.S4
	VEOR  V16.B16, V16.B16, V16.B16
	VEOR  V17.B16, V17.B16, V17.B16
	VEOR  V18.B16, V18.B16, V18.B16
	MOVD  $-1, R3
	VMOV  R3, V18.D[0]
	LSR   $32, R3, R3
	VMOV  R3, V18.D[1] // the last of a row has none to the right
	MOVD  $63, R4

row:
	MOVD $4, R5

below:
	VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	GRADIENTS(0, 4)
	GRADIENTS(1, 5)
	GRADIENTS(2, 6)
	GRADIENTS(3, 7)
	VADD   V4.S4, V16.S4, V16.S4
	VADD   V5.S4, V17.S4, V17.S4
	VADD   V6.S4, V16.S4, V16.S4
	VADD   V7.S4, V17.S4, V17.S4
	SUBS   $1, R5, R5
	BNE    below
	SUB    $256, R0

last:
	MOVD $4, R5

right:
	VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	GRADIENTS(0, 4)
	GRADIENTS(1, 5)
	GRADIENTS(2, 6)
	GRADIENTS(3, 7)
	VADD   V4.S4, V16.S4, V16.S4
	VADD   V5.S4, V17.S4, V17.S4
	VADD   V6.S4, V16.S4, V16.S4
	CMP    $1, R5
	BEQ    edge
	VADD   V7.S4, V17.S4, V17.S4
	SUB    $1, R5
	B      right

edge:
	VAND V18.B16, V7.B16, V7.B16
	VADD V7.S4, V17.S4, V17.S4
	SUBS $1, R4, R4
	BGT  row
	BEQ  last // the last row has none below

	VADD  V17.S4, V16.S4, V16.S4
	VADDV V16.S4, V16
	FMOVS F16, R0
	MOVWU R0, R0
	MOVD  R0, ret+8(FP)
	RET
