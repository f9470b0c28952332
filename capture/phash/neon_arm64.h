// Instructions that Go's assembler does not know, operands in its order. A test
// of package codec holds each beside what it decodes to.

// smlal Vd.4s, Vn.4h, Vm.4h
#define SMLAL(m, n, d) WORD $(0x0e608000 | m<<16 | n<<5 | d)
// smlal2 Vd.4s, Vn.8h, Vm.8h
#define SMLAL2(m, n, d) WORD $(0x4e608000 | m<<16 | n<<5 | d)
// uaddlp Vd.8h, Vn.16b
#define UADDLP(n, d) WORD $(0x6e202800 | n<<5 | d)
