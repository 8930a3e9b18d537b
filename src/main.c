/* main.c - placeholder of the first commit, replaced with the server. */
int main(void)
{
	return 0;
}
