// Instructions that Go's assembler does not know, operands in its order. A test
// of package codec holds each beside what it decodes to.

// mla Vd.8h, Vn.8h, Vm.8h
#define MLA(m, n, d) WORD $(0x4e609400 | m<<16 | n<<5 | d)
