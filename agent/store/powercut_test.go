package store_test

func writer() {}
