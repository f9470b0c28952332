package scheduler

// slab keeps values that hold no pointers: the garbage collector passes over
// them, and growing adds a segment and moves nothing. Values are named by
// number from 1; 0 names none. A freed number is used again.
type slab[T any] struct {
	segments []*[slabSize]T
	used     uint32
	unused   []uint32
}

const (
	slabBits = 12
	slabSize = 1 << slabBits
)

func (s *slab[T]) at(n uint32) *T { return &s.segments[n>>slabBits][n&(slabSize-1)] }

// take returns the number of a zero value.
func (s *slab[T]) take() uint32 {
	if k := len(s.unused); k > 0 {
		n := s.unused[k-1]
		s.unused = s.unused[:k-1]
		return n
	}
	s.used++
	if int(s.used>>slabBits) == len(s.segments) {
		s.segments = append(s.segments, new([slabSize]T))
	}
	return s.used
}

func (s *slab[T]) give(n uint32) {
	var zero T
	*s.at(n) = zero
	s.unused = append(s.unused, n)
}

// len returns how many values are in use.
func (s *slab[T]) len() int { return int(s.used) - len(s.unused) }
