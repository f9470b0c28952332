//go:build !amd64

package codec

// BestLevel returns PlainGo: there are vector loops for amd64 alone.
func BestLevel() Level { return PlainGo }
