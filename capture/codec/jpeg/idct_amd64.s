#include "textflag.h"

// The constants of idct.go, and what rounds either pass.

#define EIGHT(name, v) \
DATA name<>+0(SB)/4, $v; \
DATA name<>+4(SB)/4, $v; \
DATA name<>+8(SB)/4, $v; \
DATA name<>+12(SB)/4, $v; \
DATA name<>+16(SB)/4, $v; \
DATA name<>+20(SB)/4, $v; \
DATA name<>+24(SB)/4, $v; \
DATA name<>+28(SB)/4, $v; \
GLOBL name<>(SB), RODATA|NOPTR, $32

EIGHT(fix0298, 2446)
EIGHT(less0390, -3196)
EIGHT(fix0541, 4433)
EIGHT(fix0765, 6270)
EIGHT(less0899, -7373)
EIGHT(fix1175, 9633)
EIGHT(fix1501, 12299)
EIGHT(fix1847, 15137)
EIGHT(less1961, -16069)
EIGHT(fix2053, 16819)
EIGHT(less2562, -20995)
EIGHT(fix3072, 25172)
EIGHT(half1, 0x400)     // 1<<10
EIGHT(half2, 0x2020000) // 1<<17 + 128<<18

// Four rows of bytes from four columns of four.
DATA turn<>+0(SB)/8, $0x0d0905010c080400
DATA turn<>+8(SB)/8, $0x0f0b07030e0a0602
DATA turn<>+16(SB)/8, $0x0d0905010c080400
DATA turn<>+24(SB)/8, $0x0f0b07030e0a0602
GLOBL turn<>(SB), RODATA|NOPTR, $32

// PASS makes eight 8-point transforms: of frequency k of all of them in Yk to
// sample k in Y4, Y6, Y10, Y11, Y12, Y13, Y14, Y15.
#define PASS(half, shift) \
	VPADDD  Y6, Y2, Y8; \
	VPMULLD fix0541<>(SB), Y8, Y8; \
	VPMULLD fix1847<>(SB), Y6, Y6; \
	VPMULLD fix0765<>(SB), Y2, Y2; \
	VPSUBD  Y6, Y8, Y6; \
	VPADDD  Y2, Y8, Y2; \
	VPADDD  Y4, Y0, Y8; \
	VPSUBD  Y4, Y0, Y9; \
	VPSLLD  $13, Y8, Y8; \
	VPSLLD  $13, Y9, Y9; \
	VPADDD  half<>(SB), Y8, Y8; \
	VPADDD  half<>(SB), Y9, Y9; \
	VPADDD  Y2, Y8, Y0; \
	VPSUBD  Y2, Y8, Y8; \
	VPADDD  Y6, Y9, Y2; \
	VPSUBD  Y6, Y9, Y9; \
	VPADDD  Y1, Y7, Y10; \
	VPADDD  Y3, Y5, Y11; \
	VPADDD  Y3, Y7, Y12; \
	VPADDD  Y1, Y5, Y13; \
	VPADDD  Y12, Y13, Y14; \
	VPMULLD fix1175<>(SB), Y14, Y14; \
	VPMULLD less0899<>(SB), Y10, Y10; \
	VPMULLD less2562<>(SB), Y11, Y11; \
	VPMULLD less1961<>(SB), Y12, Y12; \
	VPMULLD less0390<>(SB), Y13, Y13; \
	VPADDD  Y14, Y12, Y12; \
	VPADDD  Y14, Y13, Y13; \
	VPMULLD fix0298<>(SB), Y7, Y7; \
	VPMULLD fix2053<>(SB), Y5, Y5; \
	VPMULLD fix3072<>(SB), Y3, Y3; \
	VPMULLD fix1501<>(SB), Y1, Y1; \
	VPADDD  Y10, Y7, Y7; \
	VPADDD  Y11, Y5, Y5; \
	VPADDD  Y11, Y3, Y3; \
	VPADDD  Y10, Y1, Y1; \
	VPADDD  Y12, Y7, Y7; \
	VPADDD  Y13, Y5, Y5; \
	VPADDD  Y12, Y3, Y3; \
	VPADDD  Y13, Y1, Y1; \
	VPADDD  Y1, Y0, Y4; \
	VPSUBD  Y1, Y0, Y15; \
	VPADDD  Y3, Y2, Y6; \
	VPSUBD  Y3, Y2, Y14; \
	VPADDD  Y5, Y9, Y10; \
	VPSUBD  Y5, Y9, Y13; \
	VPADDD  Y7, Y8, Y11; \
	VPSUBD  Y7, Y8, Y12; \
	VPSRAD  $shift, Y4, Y4; \
	VPSRAD  $shift, Y6, Y6; \
	VPSRAD  $shift, Y10, Y10; \
	VPSRAD  $shift, Y11, Y11; \
	VPSRAD  $shift, Y12, Y12; \
	VPSRAD  $shift, Y13, Y13; \
	VPSRAD  $shift, Y14, Y14; \
	VPSRAD  $shift, Y15, Y15

// func fullAVX2(b *block, dst *byte, stride int)
TEXT ·fullAVX2(SB), NOSPLIT, $0-24
	MOVQ b+0(FP), SI
	MOVQ dst+8(FP), DI
	MOVQ stride+16(FP), DX

	// Down the columns.
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU 64(SI), Y2
	VMOVDQU 96(SI), Y3
	VMOVDQU 128(SI), Y4
	VMOVDQU 160(SI), Y5
	VMOVDQU 192(SI), Y6
	VMOVDQU 224(SI), Y7
	PASS(half1, 11)

	// Rows become columns.
	VPUNPCKLDQ  Y6, Y4, Y0
	VPUNPCKHDQ  Y6, Y4, Y1
	VPUNPCKLDQ  Y11, Y10, Y2
	VPUNPCKHDQ  Y11, Y10, Y3
	VPUNPCKLDQ  Y13, Y12, Y4
	VPUNPCKHDQ  Y13, Y12, Y5
	VPUNPCKLDQ  Y15, Y14, Y6
	VPUNPCKHDQ  Y15, Y14, Y7
	VPUNPCKLQDQ Y2, Y0, Y8
	VPUNPCKHQDQ Y2, Y0, Y9
	VPUNPCKLQDQ Y3, Y1, Y10
	VPUNPCKHQDQ Y3, Y1, Y11
	VPUNPCKLQDQ Y6, Y4, Y12
	VPUNPCKHQDQ Y6, Y4, Y13
	VPUNPCKLQDQ Y7, Y5, Y14
	VPUNPCKHQDQ Y7, Y5, Y15
	VPERM2I128  $0x20, Y12, Y8, Y0
	VPERM2I128  $0x20, Y13, Y9, Y1
	VPERM2I128  $0x20, Y14, Y10, Y2
	VPERM2I128  $0x20, Y15, Y11, Y3
	VPERM2I128  $0x31, Y12, Y8, Y4
	VPERM2I128  $0x31, Y13, Y9, Y5
	VPERM2I128  $0x31, Y14, Y10, Y6
	VPERM2I128  $0x31, Y15, Y11, Y7
	PASS(half2, 18)

	// To bytes, and columns become rows.
	VPACKSSDW  Y6, Y4, Y0
	VPACKSSDW  Y11, Y10, Y1
	VPACKSSDW  Y13, Y12, Y2
	VPACKSSDW  Y15, Y14, Y3
	VPACKUSWB  Y1, Y0, Y0
	VPACKUSWB  Y3, Y2, Y2
	VPSHUFB    turn<>(SB), Y0, Y0
	VPSHUFB    turn<>(SB), Y2, Y2
	VPUNPCKLDQ Y2, Y0, Y1            // rows 0, 1, 4 and 5
	VPUNPCKHDQ Y2, Y0, Y3            // rows 2, 3, 6 and 7
	VEXTRACTI128 $1, Y1, X5
	VEXTRACTI128 $1, Y3, X7
	LEAQ    (DI)(DX*2), R8
	LEAQ    (DI)(DX*4), R9
	LEAQ    (R8)(DX*4), R10
	VMOVQ   X1, (DI)
	VPEXTRQ $1, X1, (DI)(DX*1)
	VMOVQ   X3, (R8)
	VPEXTRQ $1, X3, (R8)(DX*1)
	VMOVQ   X5, (R9)
	VPEXTRQ $1, X5, (R9)(DX*1)
	VMOVQ   X7, (R10)
	VPEXTRQ $1, X7, (R10)(DX*1)
	VZEROUPPER
	RET
