#include "textflag.h"

// By how many bits to shift four words for even, odd, even and odd samples.
DATA evenOdd<>+0(SB)/8, $0
DATA evenOdd<>+8(SB)/8, $8
DATA evenOdd<>+16(SB)/8, $0
DATA evenOdd<>+24(SB)/8, $8
GLOBL evenOdd<>(SB), RODATA|NOPTR, $32

// func columnsAVX2(lanes *uint64, row *byte, weight uint64, n int)
TEXT ·columnsAVX2(SB), NOSPLIT, $0-32
	MOVQ lanes+0(FP), DI
	MOVQ row+8(FP), SI
	MOVQ weight+16(FP), X7
	MOVQ n+24(FP), CX
	VPBROADCASTW X7, Y7
	VPCMPEQW Y6, Y6, Y6
	VPSRLW $8, Y6, Y6
	VMOVDQU evenOdd<>(SB), Y5

sixteen:
	VMOVDQU (SI), X0
	VPERMQ $0x50, Y0, Y0 // each word twice
	VPSRLVQ Y5, Y0, Y0
	VPAND Y6, Y0, Y0
	VPMULLW Y7, Y0, Y0
	VPADDW (DI), Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $16, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JNZ sixteen
	VZEROUPPER
	RET
