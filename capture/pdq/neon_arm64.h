// Instructions that Go's assembler does not know, operands in its order. A test
// of package codec holds each beside what it decodes to.

// umlal Vd.8h, Vn.8b, Vm.8b
#define UMLAL(m, n, d) WORD $(0x2e208000 | m<<16 | n<<5 | d)
// umlal2 Vd.8h, Vn.16b, Vm.16b
#define UMLAL2(m, n, d) WORD $(0x6e208000 | m<<16 | n<<5 | d)
// mla Vd.4s, Vn.4s, Vm.4s
#define MLA(m, n, d) WORD $(0x4ea09400 | m<<16 | n<<5 | d)
// ucvtf Vd.2d, Vn.2d
#define UCVTF(n, d) WORD $(0x6e61d800 | n<<5 | d)
// fmul Vd.2d, Vn.2d, Vm.2d
#define FMUL_D(m, n, d) WORD $(0x6e60dc00 | m<<16 | n<<5 | d)
// fadd Vd.2d, Vn.2d, Vm.2d
#define FADD_D(m, n, d) WORD $(0x4e60d400 | m<<16 | n<<5 | d)
// fsub Vd.4s, Vn.4s, Vm.4s
#define FSUB_S(m, n, d) WORD $(0x4ea0d400 | m<<16 | n<<5 | d)
// fmul Vd.4s, Vn.4s, Vm.4s
#define FMUL_S(m, n, d) WORD $(0x6e20dc00 | m<<16 | n<<5 | d)
// fdiv Vd.4s, Vn.4s, Vm.4s
#define FDIV_S(m, n, d) WORD $(0x6e20fc00 | m<<16 | n<<5 | d)
// fcvtzs Vd.4s, Vn.4s
#define FCVTZS(n, d) WORD $(0x4ea1b800 | n<<5 | d)
// abs Vd.4s, Vn.4s
#define ABS(n, d) WORD $(0x4ea0b800 | n<<5 | d)
