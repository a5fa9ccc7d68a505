/* A libnvidia-ml.so.1 for tests: two GPUs of known power, scripted by environment variables and control files.

   STUB_WATTS, STUB_SLOPE   power of the second GPU: watts + slope · (t - STUB_START), W and W/s; the first draws thrice that
   STUB_PERIOD              seconds between two updates of the energy counter
   STUB_ENERGY, STUB_INSTANT, STUB_POWER, STUB_INIT   NVML status that the call returns instead
   STUB_MIG                 1: the second GPU is partitioned
   STUB_CONTROL             a folder: the file `lost` loses the GPUs, `reset` sets the counter back
   Times are those of CLOCK_MONOTONIC, as in Python's time.monotonic. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15 };

typedef struct { const char *uuid; double factor; } Device;
static Device devices[2] = {
    {"GPU-bbbbbbbb-0000-0000-0000-000000000000", 3.0},
    {"GPU-aaaaaaaa-0000-0000-0000-000000000000", 1.0},
};

typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latency;
    unsigned valueType, nvmlReturn;
    unsigned long long value;
} FieldValue;

static double number(const char *name, double fallback) {
    const char *text = getenv(name);
    return text ? atof(text) : fallback;
}

static int status(const char *name) { return (int)number(name, SUCCESS); }

static int control(const char *name) {
    char path[4096];
    const char *folder = getenv("STUB_CONTROL");
    if (!folder) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double watts(Device *device, double t) {
    return device->factor * (number("STUB_WATTS", 100) + number("STUB_SLOPE", 0) * (t - number("STUB_START", 0)));
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return status("STUB_INIT"); }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    if (index > 1) return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    for (int i = 0; i < 2; i++)
        if (!strcmp(uuid, devices[i].uuid)) { *device = &devices[i]; return SUCCESS; }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(Device *device, char *buffer, unsigned length) {
    snprintf(buffer, length, "%s", device->uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(Device *device, char *buffer, unsigned length) {
    (void)device;
    snprintf(buffer, length, "Stub GPU");
    return SUCCESS;
}

int nvmlDeviceIsMigDeviceHandle(Device *device, unsigned *mig) { (void)device; *mig = 0; return SUCCESS; }

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    if (device->factor > 1) return NOT_SUPPORTED;
    *current = *pending = (unsigned)number("STUB_MIG", 0);
    return SUCCESS;
}

#ifndef WITHOUT_COUNTER
int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *millijoules) {
    double period = number("STUB_PERIOD", 0.02), start = number("STUB_START", 0);
    double t = floor(now() / period) * period;
    if (status("STUB_ENERGY")) return status("STUB_ENERGY");
    if (control("lost")) return GPU_IS_LOST;
    double joules = device->factor * number("STUB_WATTS", 100) * t
        + device->factor * number("STUB_SLOPE", 0) * (t - start) * (t - start) / 2;
    *millijoules = control("reset") ? 5 : (unsigned long long)(joules * 1000);
    return SUCCESS;
}
#endif

int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    if (status("STUB_POWER")) return status("STUB_POWER");
    if (control("lost")) return GPU_IS_LOST;
    *milliwatts = (unsigned)(watts(device, now()) * 1000);
    return SUCCESS;
}

int nvmlDeviceGetFieldValues(Device *device, int count, FieldValue *values) {
    for (int i = 0; i < count; i++) {
        values[i].nvmlReturn = control("lost") ? GPU_IS_LOST : status("STUB_INSTANT");
        values[i].valueType = 1;
        values[i].value = (unsigned)(watts(device, now()) * 1000);
    }
    return SUCCESS;
}
