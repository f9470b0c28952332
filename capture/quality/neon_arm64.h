// Instructions that Go's assembler does not know, operands in its order. A test
// of package codec holds each beside what it decodes to.

// uaddl Vd.8h, Vn.8b, Vm.8b
#define UADDL(m, n, d) WORD $(0x2e200000 | m<<16 | n<<5 | d)
// uaddl2 Vd.8h, Vn.16b, Vm.16b
#define UADDL2(m, n, d) WORD $(0x6e200000 | m<<16 | n<<5 | d)
// usubl Vd.8h, Vn.8b, Vm.8b
#define USUBL(m, n, d) WORD $(0x2e202000 | m<<16 | n<<5 | d)
// usubl2 Vd.8h, Vn.16b, Vm.16b
#define USUBL2(m, n, d) WORD $(0x6e202000 | m<<16 | n<<5 | d)
// umull Vd.8h, Vn.8b, Vm.8b
#define UMULL(m, n, d) WORD $(0x2e20c000 | m<<16 | n<<5 | d)
// umull2 Vd.8h, Vn.16b, Vm.16b
#define UMULL2(m, n, d) WORD $(0x6e20c000 | m<<16 | n<<5 | d)
// smlal Vd.4s, Vn.4h, Vm.4h
#define SMLAL(m, n, d) WORD $(0x0e608000 | m<<16 | n<<5 | d)
// smlal2 Vd.4s, Vn.8h, Vm.8h
#define SMLAL2(m, n, d) WORD $(0x4e608000 | m<<16 | n<<5 | d)
// sabal Vd.4s, Vn.4h, Vm.4h
#define SABAL(m, n, d) WORD $(0x0e605000 | m<<16 | n<<5 | d)
// sabal2 Vd.4s, Vn.8h, Vm.8h
#define SABAL2(m, n, d) WORD $(0x4e605000 | m<<16 | n<<5 | d)
// saba Vd.8h, Vn.8h, Vm.8h
#define SABA(m, n, d) WORD $(0x4e607c00 | m<<16 | n<<5 | d)
// abs Vd.8h, Vn.8h
#define ABS(n, d) WORD $(0x4e60b800 | n<<5 | d)
// cmhi Vd.8h, Vn.8h, Vm.8h
#define CMHI(m, n, d) WORD $(0x6e603400 | m<<16 | n<<5 | d)
// cmhs Vd.16b, Vn.16b, Vm.16b
#define CMHS(m, n, d) WORD $(0x6e203c00 | m<<16 | n<<5 | d)
// uadalp Vd.8h, Vn.16b
#define UADALP_B(n, d) WORD $(0x6e206800 | n<<5 | d)
// uadalp Vd.4s, Vn.8h
#define UADALP_H(n, d) WORD $(0x6e606800 | n<<5 | d)
