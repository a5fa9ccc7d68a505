/* A libnvidia-ml.so.1 for tests: two GPUs of known power, scripted by environment variables and control files.

   power of the second GPU in W at the time t in s, of which the first draws thrice:
   STUB_WATTS + STUB_SLOPE · (t - STUB_START), and STUB_STEP_WATTS more from STUB_STEP_AT on

   STUB_PERIOD, STUB_LATENCY   seconds between two updates of the energy counter, and from an update to its publication
   STUB_POWER_PERIOD           seconds between two updates of the power readings; 0: none
   STUB_AVERAGE                seconds that the older power call averages over; 0: the moment's power
   STUB_THROTTLE               mask of clocks event reasons
   STUB_PIDS                   the processes that compute on either GPU, separated by spaces
   STUB_ENERGY, STUB_INSTANT, STUB_POWER, STUB_INIT   NVML status that the call returns instead
   STUB_DENIED                 of utilisation, clocks, temperature, throttle, processes, driver, limit: without permission
   STUB_MIG                    1: the second GPU is partitioned
   STUB_CONTROL                a folder: the file `lost` loses the GPUs, `reset` sets the counter back
   Times are those of CLOCK_MONOTONIC, as in Python's time.monotonic.
   Defined when compiled: WITHOUT_COUNTER and WITHOUT_STATE leave calls out; OLD_DRIVER has them under older names. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    GPU_IS_LOST = 15
};

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
typedef struct { unsigned gpu, memory; } Utilisation;
typedef struct { unsigned version, sensor; int celsius; } Temperature;
typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned instance, computeInstance;
} Process;

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

/* The time of the last update of something that updates every so many seconds. */
static double updated(double t, double period) { return period > 0 ? floor(t / period) * period : t; }

static double watts(Device *device, double t) {
    double base = number("STUB_WATTS", 100) + number("STUB_SLOPE", 0) * (t - number("STUB_START", 0));
    return device->factor * (base + (t >= number("STUB_STEP_AT", INFINITY) ? number("STUB_STEP_WATTS", 0) : 0));
}

/* The integral of `watts`, but for a constant. */
static double joules(Device *device, double t) {
    double since = t - number("STUB_START", 0), after = t - number("STUB_STEP_AT", INFINITY);
    double base = number("STUB_WATTS", 100) * t + number("STUB_SLOPE", 0) * since * since / 2;
    return device->factor * (base + (after > 0 ? number("STUB_STEP_WATTS", 0) * after : 0));
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
    if (status("STUB_ENERGY")) return status("STUB_ENERGY");
    if (control("lost")) return GPU_IS_LOST;
    double t = updated(now() - number("STUB_LATENCY", 0), number("STUB_PERIOD", 0.02));
    *millijoules = control("reset") ? 5 : (unsigned long long)(joules(device, t) * 1000);
    return SUCCESS;
}
#endif

int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    if (status("STUB_POWER")) return status("STUB_POWER");
    if (control("lost")) return GPU_IS_LOST;
    double t = updated(now(), number("STUB_POWER_PERIOD", 0)), seconds = number("STUB_AVERAGE", 0);
    double mean = seconds > 0 ? (joules(device, t) - joules(device, t - seconds)) / seconds : watts(device, t);
    *milliwatts = (unsigned)(mean * 1000);
    return SUCCESS;
}

int nvmlDeviceGetFieldValues(Device *device, int count, FieldValue *values) {
    for (int i = 0; i < count; i++) {
        values[i].nvmlReturn = control("lost") ? GPU_IS_LOST : status("STUB_INSTANT");
        values[i].valueType = 1;
        values[i].value = (unsigned)(watts(device, updated(now(), number("STUB_POWER_PERIOD", 0))) * 1000);
    }
    return SUCCESS;
}

#ifndef WITHOUT_STATE
static int refusal(const char *name) {
    const char *denied = getenv("STUB_DENIED");
    if (control("lost")) return GPU_IS_LOST;
    return denied && strstr(denied, name) ? NO_PERMISSION : SUCCESS;
}

int nvmlSystemGetDriverVersion(char *buffer, unsigned length) {
    snprintf(buffer, length, "999.01");
    return refusal("driver");
}

int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *milliwatts) {
    *milliwatts = (unsigned)(device->factor * 250000);
    return refusal("limit");
}

int nvmlDeviceGetUtilizationRates(Device *device, Utilisation *rates) {
    (void)device;
    *rates = (Utilisation){97, 40};
    return refusal("utilisation");
}

int nvmlDeviceGetClockInfo(Device *device, unsigned type, unsigned *mhz) {
    (void)device;
    *mhz = type == 2 ? 2619 : 1980;
    return refusal("clocks");
}

static int degrees(void) { return 41 + (int)(now() - number("STUB_START", now())); } /* one more every second */

#ifdef OLD_DRIVER
int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *celsius) {
    (void)device, (void)sensor;
    *celsius = (unsigned)degrees();
    return refusal("temperature");
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *mask) {
#else
int nvmlDeviceGetTemperatureV(Device *device, Temperature *temperature) {
    (void)device;
    if (temperature->version != 0x0100000C) return INVALID_ARGUMENT;
    temperature->celsius = degrees();
    return refusal("temperature");
}

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *mask) {
#endif
    (void)device;
    *mask = (unsigned long long)number("STUB_THROTTLE", 0);
    return refusal("throttle");
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *processes) {
    const char *text = getenv("STUB_PIDS");
    unsigned found = 0, room = *count;
    (void)device;
    if (refusal("processes")) return refusal("processes");
    for (char *end; text && *text; text = end, found++) {
        unsigned long pid = strtoul(text, &end, 10);
        if (found < room) processes[found] = (Process){.pid = (unsigned)pid};
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}
#endif
