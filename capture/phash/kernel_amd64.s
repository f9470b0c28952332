#include "textflag.h"

// func pairsAVX2(dst *int16, src *byte, n int)
TEXT ·pairsAVX2(SB), NOSPLIT, $0-24
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         n+16(FP), CX
	VPCMPEQB     Y0, Y0, Y0
	VPABSB       Y0, Y0 // 1 in each byte

pairs:
	VMOVDQU    (SI), Y1
	VMOVDQU    32(SI), Y2
	VPMADDUBSW Y0, Y1, Y1
	VPMADDUBSW Y0, Y2, Y2
	VMOVDQU    Y1, (DI)
	VMOVDQU    Y2, 32(DI)
	ADDQ       $64, SI
	ADDQ       $64, DI
	SUBQ       $64, CX
	JNZ        pairs
	VZEROUPPER
	RET

// func dotsAVX512(out *[32][4]int32, rows *int16, stride int, from *[32]int32, weights *int16, n int)
TEXT ·dotsAVX512(SB), NOSPLIT, $0-48
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ stride+16(FP), BX
	MOVQ from+24(FP), R8
	MOVQ weights+32(FP), R9
	MOVQ n+40(FP), CX
	SHLQ $1, BX
	SHLQ $1, CX
	MOVQ $32, DX

output:
	MOVLQSX (R8), R10
	LEAQ    (SI)(R10*2), R10 // the four rows
	LEAQ    (R10)(BX*1), R11
	LEAQ    (R11)(BX*1), R12
	LEAQ    (R12)(BX*1), R13
	VPXORQ  Z0, Z0, Z0
	VPXORQ  Z1, Z1, Z1
	VPXORQ  Z2, Z2, Z2
	VPXORQ  Z3, Z3, Z3
	XORQ    AX, AX

samples:
	VMOVDQU16 (R9)(AX*1), Z4
	VPMADDWD  (R10)(AX*1), Z4, Z5
	VPMADDWD  (R11)(AX*1), Z4, Z6
	VPMADDWD  (R12)(AX*1), Z4, Z7
	VPMADDWD  (R13)(AX*1), Z4, Z8
	VPADDD    Z5, Z0, Z0
	VPADDD    Z6, Z1, Z1
	VPADDD    Z7, Z2, Z2
	VPADDD    Z8, Z3, Z3
	ADDQ      $64, AX
	CMPQ      AX, CX
	JLT       samples

	VEXTRACTI64X4 $1, Z0, Y5
	VEXTRACTI64X4 $1, Z1, Y6
	VEXTRACTI64X4 $1, Z2, Y7
	VEXTRACTI64X4 $1, Z3, Y8
	VPADDD        Y5, Y0, Y0
	VPADDD        Y6, Y1, Y1
	VPADDD        Y7, Y2, Y2
	VPADDD        Y8, Y3, Y3
	VPHADDD       Y1, Y0, Y0
	VPHADDD       Y3, Y2, Y2
	VPHADDD       Y2, Y0, Y0
	VEXTRACTI128  $1, Y0, X1
	VPADDD        X1, X0, X0
	VMOVDQU       X0, (DI)

	ADDQ CX, R9
	ADDQ $4, R8
	ADDQ $16, DI
	DECQ DX
	JNZ  output
	VZEROUPPER
	RET

// func dotsAVX2(out *[32][4]int32, rows *int16, stride int, from *[32]int32, weights *int16, n int)
TEXT ·dotsAVX2(SB), NOSPLIT, $0-48
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ stride+16(FP), BX
	MOVQ from+24(FP), R8
	MOVQ weights+32(FP), R9
	MOVQ n+40(FP), CX
	SHLQ $1, BX
	SHLQ $1, CX
	MOVQ $32, DX

output:
	MOVLQSX (R8), R10
	LEAQ    (SI)(R10*2), R10 // the four rows
	LEAQ    (R10)(BX*1), R11
	LEAQ    (R11)(BX*1), R12
	LEAQ    (R12)(BX*1), R13
	VPXOR   Y0, Y0, Y0
	VPXOR   Y1, Y1, Y1
	VPXOR   Y2, Y2, Y2
	VPXOR   Y3, Y3, Y3
	XORQ    AX, AX

samples:
	VMOVDQU  (R9)(AX*1), Y4
	VPMADDWD (R10)(AX*1), Y4, Y5
	VPMADDWD (R11)(AX*1), Y4, Y6
	VPMADDWD (R12)(AX*1), Y4, Y7
	VPMADDWD (R13)(AX*1), Y4, Y8
	VPADDD   Y5, Y0, Y0
	VPADDD   Y6, Y1, Y1
	VPADDD   Y7, Y2, Y2
	VPADDD   Y8, Y3, Y3
	ADDQ     $32, AX
	CMPQ     AX, CX
	JLT      samples

	VPHADDD      Y1, Y0, Y0
	VPHADDD      Y3, Y2, Y2
	VPHADDD      Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD       X1, X0, X0
	VMOVDQU      X0, (DI)

	ADDQ CX, R9
	ADDQ $4, R8
	ADDQ $16, DI
	DECQ DX
	JNZ  output
	VZEROUPPER
	RET
