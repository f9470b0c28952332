package codec

import "golang.org/x/sys/cpu"

// vectors are the levels beyond PlainGo.
func vectors() []Level {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL:
		return []Level{AVX2, AVX512}
	case cpu.X86.HasAVX2:
		return []Level{AVX2}
	}
	return nil
}
