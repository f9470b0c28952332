// A plugin of qemu's that prints how many instructions of the guest were run.
// Debian ships the programs without qemu-plugin.h, so what is used of it stands here:
// QEMU 7.2, plugin interface 1.
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t id_t64;
struct tb;
enum { ADD_U64 = 0 };
void qemu_plugin_register_vcpu_tb_trans_cb(id_t64, void (*)(id_t64, struct tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct tb *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(id_t64, void (*)(id_t64, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct tb *);

int qemu_plugin_version = 1;

static uint64_t count; // of one thread at a time: the program runs with GOMAXPROCS=1

static void translated(id_t64 id, struct tb *block) {
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &count, qemu_plugin_tb_n_insns(block));
}

static void end(id_t64 id, void *unused) {
	(void)id, (void)unused;
	fprintf(stderr, "instructions %" PRIu64 "\n", count);
}

int qemu_plugin_install(id_t64 id, const void *info, int argc, char **argv) {
	(void)info, (void)argc, (void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, end, NULL);
	return 0;
}
