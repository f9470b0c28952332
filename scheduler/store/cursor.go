package store

import "encoding/binary"

// cursor reads a packed record from its front. What does not fit makes it bad,
// and everything behind that reads as zero: a reader looks once, at the end.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() {
	c.bad, c.b = true, nil
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

// uint64 reads eight bytes, big end first.
func (c *cursor) uint64() uint64 {
	if len(c.b) < 8 {
		c.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(c.b)
	c.b = c.b[8:]
	return v
}

// raw reads a length and so many bytes; they stay those of the record.
func (c *cursor) raw() []byte {
	n := c.count()
	r := c.b[:n]
	c.b = c.b[n:]
	return r
}

// count reads how many things follow, of a byte each at least.
func (c *cursor) count() uint64 {
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		c.fail()
		return 0
	}
	return n
}
