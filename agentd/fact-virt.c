/* SPDX-License-Identifier: LGPL-2.1-or-later */

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include <fcntl.h>

#include "fact-internal.h"

/* Names and order of the questions: systemd-detect-virt(1). */

static const char *container_name(const char *name) {
        static const char *const known[] = { "docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn",
                "openvz", "rkt", "wsl", "proot", "pouch" };

        FOREACH_ELEMENT(k, known)
                if (streq(*k, name))
                        return *k;
        return "container-other";
}

/* Source: container-interface of systemd, "container=" in the environment of PID 1. */
static const char *container_from_environment(char *environment, size_t size) {
        for (char *p = environment; p < environment + size; p += strlen(p) + 1) {
                const char *value = startswith(p, "container=");

                if (value)
                        return *value ? value : NULL;
        }
        return NULL;
}

static const char *detect_container(int host_fd) {
        char buffer[16384];
        const char *name = NULL;
        ssize_t n;

        n = root_read(host_fd, "proc/sys/kernel/osrelease", buffer, sizeof(buffer));
        if (n > 0 && (strstr(buffer, "Microsoft") || strstr(buffer, "WSL")))
                return "wsl";

        if (root_exists(host_fd, "proc/vz") && !root_exists(host_fd, "proc/bc"))
                return "openvz";

        n = root_read(host_fd, "run/systemd/container", buffer, sizeof(buffer));
        if (n > 0)
                name = first_line(buffer);
        if (!name || !*name) {
                n = root_read(host_fd, "proc/1/environ", buffer, sizeof(buffer));
                name = n > 0 ? container_from_environment(buffer, (size_t) n) : NULL;
        }
        /* "oci" says how it was started, not by what. */
        if (name && *name && !streq(name, "oci"))
                return container_name(name);

        if (root_exists(host_fd, "run/.containerenv"))
                return "podman";
        if (root_exists(host_fd, ".dockerenv"))
                return "docker";
        return name && *name ? "container-other" : NULL;
}

static const char *detect_dmi(int host_fd) {
        static const char *const files[] = { "product_name", "sys_vendor", "board_vendor", "bios_vendor",
                "product_version" };
        static const struct {
                const char *prefix, *name;
        } vendors[] = {
                { "KVM", "kvm" },
                { "OpenStack", "kvm" },
                { "KubeVirt", "kvm" },
                { "Amazon EC2", "amazon" },
                { "QEMU", "qemu" },
                { "VMware", "vmware" },
                { "VMW", "vmware" },
                { "innotek GmbH", "oracle" },
                { "VirtualBox", "oracle" },
                { "Xen", "xen" },
                { "Bochs", "bochs" },
                { "Parallels", "parallels" },
                { "BHYVE", "bhyve" },
                { "Hyper-V", "microsoft" },
                { "Apple Virtualization", "apple" },
                { "Google Compute Engine", "google" },
        };
        _cleanup_close_ int fd = root_open(host_fd, "sys/class/dmi/id", O_PATH | O_DIRECTORY);

        if (fd < 0)
                return NULL;

        FOREACH_ELEMENT(file, files) {
                _cleanup_close_ int file_fd =
                        openat(fd, *file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
                char buffer[256], *line;

                if (file_fd < 0 || file_read(file_fd, buffer, sizeof(buffer)) <= 0)
                        continue;
                line = first_line(buffer);
                FOREACH_ELEMENT(v, vendors)
                        if (startswith(line, v->prefix))
                                return v->name;
                /* Amazon's bare metal has the same vendor strings as its machines. */
                if (streq(*file, "product_name") && endswith(line, ".metal"))
                        return NULL;
        }
        return NULL;
}

const char *hypervisor_signature(char buffer[static 13]) {
#if defined(__x86_64__) || defined(__i386__)
        unsigned eax, ebx, ecx, edx;

        /* Source: Linux Documentation/virt/kvm/x86/cpuid.rst. The bit is also the "hypervisor" flag of /proc/cpuinfo,
         * which takes milliseconds to read on large machines. */
        if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || !(ecx & (1U << 31)))
                return NULL;
        __cpuid(0x40000000U, eax, ebx, ecx, edx);
        memcpy(buffer, &ebx, 4);
        memcpy(buffer + 4, &ecx, 4);
        memcpy(buffer + 8, &edx, 4);
        buffer[12] = 0;
        return buffer;
#else
        return NULL;
#endif
}

static const char *name_of_signature(const char *signature) {
        static const struct {
                const char *signature, *name;
        } known[] = {
                { "XenVMMXenVMM", "xen" },
                { "KVMKVMKVM", "kvm" },
                { "Linux KVM Hv", "kvm" },
                { "TCGTCGTCGTCG", "qemu" },
                { "VMwareVMware", "vmware" },
                { "Microsoft Hv", "microsoft" },
                { "bhyve bhyve ", "bhyve" },
                { "QNXQVMBSQG", "qnx" },
                { "ACRNACRNACRN", "acrn" },
                { "SRESRESRESRE", "sre" },
                { "Apple VZ", "apple" },
        };

        FOREACH_ELEMENT(k, known)
                if (streq(k->signature, signature))
                        return k->name;
        return NULL;
}

static const char *detect_vm(int host_fd, const char *signature) {
        /* These sit on other hypervisors or imitate them; what the firmware says is nearer the truth. */
        static const char *const firmware_first[] = { "oracle", "xen", "amazon", "parallels", "google" };
        const char *dmi = detect_dmi(host_fd), *name;
        bool other = signature != NULL;
        char buffer[256];

        if (dmi)
                FOREACH_ELEMENT(f, firmware_first)
                        if (streq(*f, dmi))
                                return dmi;

        if (root_exists(host_fd, "proc/xen")) {
                /* The first domain of Xen has the hardware, and is none of its guests. */
                if (root_read(host_fd, "proc/xen/capabilities", buffer, sizeof(buffer)) > 0 &&
                        strstr(buffer, "control_d"))
                        return NULL;
                return "xen";
        }

        name = signature ? name_of_signature(signature) : NULL;
        if (name)
                return name;
        if (dmi)
                return dmi;

        if (root_read(host_fd, "sys/hypervisor/type", buffer, sizeof(buffer)) > 0) {
                if (streq(first_line(buffer), "xen"))
                        return "xen";
                other = true;
        }

        /* Source: Linux Documentation/devicetree; machines without DMI, such as arm64 boards and POWER. */
        if (root_read(host_fd, "proc/device-tree/hypervisor/compatible", buffer, sizeof(buffer)) > 0) {
                if (streq(buffer, "linux,kvm"))
                        return "kvm";
                if (strstr(buffer, "xen"))
                        return "xen";
                if (strstr(buffer, "vmware"))
                        return "vmware";
                other = true;
        } else if (root_exists(host_fd, "proc/device-tree/fw-cfg"))
                return "qemu";

        return other ? "vm-other" : NULL;
}

const char *virt_detect(int host_fd, const char *signature) {
        const char *name = detect_container(host_fd);

        if (!name)
                name = detect_vm(host_fd, signature);
        return name ?: "none";
}
