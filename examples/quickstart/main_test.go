package main

func Example() {
	main()
	// Output:
	// sending the mail
	// message 1, replayed: false
	// message 1, replayed: true
}
