static void chaos(void) {}
