package h264

func (d *Decoder) deblock() {}
