package codec

// vectors are the levels beyond PlainGo: every arm64 has NEON.
func vectors() []Level { return []Level{NEON} }
