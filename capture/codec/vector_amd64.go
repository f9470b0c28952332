package codec

import "golang.org/x/sys/cpu"

// BestLevel returns the highest level that this processor, and the system on
// it, can run.
func BestLevel() Level {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL:
		return AVX512
	case cpu.X86.HasAVX2:
		return AVX2
	}
	return PlainGo
}
