/* SetupAPI with a class installer for network devices, which Wine 8 has not: SetupDiSetClassInstallParams is a stub there. Lies
   beside a copy of node.exe, where Windows and Wine look first; all else goes to Wine's own. What was asked for is counted:
   HKLM\SOFTWARE\SetupDouble  Restarts REG_DWORD, Device REG_SZ; Answer REG_DWORD: 0 works, 1 needs a reboot, 2 is denied. */
#include <windows.h>
#include <setupapi.h>
#include <string.h>

static FARPROC real(const char *name)
{
    static HMODULE module;
    if (!module) module = LoadLibraryW(L"C:\\windows\\system32\\setupapi.dll");
    return GetProcAddress(module, name);
}
#define REAL(name) ((__typeof__(&name))real(#name))
#define KEY L"SOFTWARE\\SetupDouble"

static SP_PROPCHANGE_PARAMS asked;
static DWORD number(const WCHAR *name)
{
    DWORD value = 0, size = sizeof value;
    RegGetValueW(HKEY_LOCAL_MACHINE, KEY, name, RRF_RT_REG_DWORD, NULL, &value, &size);
    return value;
}

HDEVINFO WINAPI SetupDiGetClassDevsW(const GUID *c, PCWSTR e, HWND w, DWORD f) { return REAL(SetupDiGetClassDevsW)(c, e, w, f); }
BOOL WINAPI SetupDiEnumDeviceInfo(HDEVINFO l, DWORD n, PSP_DEVINFO_DATA d) { return REAL(SetupDiEnumDeviceInfo)(l, n, d); }
BOOL WINAPI SetupDiGetDeviceInstanceIdW(HDEVINFO l, PSP_DEVINFO_DATA d, PWSTR b, DWORD n, PDWORD need) { return REAL(SetupDiGetDeviceInstanceIdW)(l, d, b, n, need); }
BOOL WINAPI SetupDiGetDeviceRegistryPropertyW(HDEVINFO l, PSP_DEVINFO_DATA d, DWORD p, PDWORD t, PBYTE b, DWORD n, PDWORD need) { return REAL(SetupDiGetDeviceRegistryPropertyW)(l, d, p, t, b, n, need); }
BOOL WINAPI SetupDiDestroyDeviceInfoList(HDEVINFO l) { return REAL(SetupDiDestroyDeviceInfoList)(l); }
HDEVINFO WINAPI SetupDiCreateDeviceInfoList(const GUID *c, HWND w) { return REAL(SetupDiCreateDeviceInfoList)(c, w); }
BOOL WINAPI SetupDiOpenDeviceInfoW(HDEVINFO l, PCWSTR id, HWND w, DWORD f, PSP_DEVINFO_DATA d) { return REAL(SetupDiOpenDeviceInfoW)(l, id, w, f, d); }

BOOL WINAPI SetupDiSetClassInstallParamsW(HDEVINFO l, PSP_DEVINFO_DATA d, PSP_CLASSINSTALL_HEADER p, DWORD size)
{
    if (size != sizeof asked || p->cbSize != sizeof *p) { SetLastError(ERROR_INVALID_PARAMETER); return FALSE; }
    memcpy(&asked, p, sizeof asked);
    return TRUE;
}

BOOL WINAPI SetupDiCallClassInstaller(DI_FUNCTION f, HDEVINFO l, PSP_DEVINFO_DATA d)
{
    DWORD count = number(L"Restarts") + 1;
    WCHAR id[256];
    if (f != DIF_PROPERTYCHANGE || asked.ClassInstallHeader.InstallFunction != f || asked.StateChange != DICS_PROPCHANGE ||
        asked.Scope != DICS_FLAG_CONFIGSPECIFIC || !SetupDiGetDeviceInstanceIdW(l, d, id, 256, NULL)) {
        SetLastError(ERROR_INVALID_PARAMETER);
        return FALSE;
    }
    if (number(L"Answer") == 2) { SetLastError(ERROR_ACCESS_DENIED); return FALSE; }
    RegSetKeyValueW(HKEY_LOCAL_MACHINE, KEY, L"Restarts", REG_DWORD, &count, sizeof count);
    RegSetKeyValueW(HKEY_LOCAL_MACHINE, KEY, L"Device", REG_SZ, id, 2 * (wcslen(id) + 1));
    return TRUE;
}

BOOL WINAPI SetupDiGetDeviceInstallParamsW(HDEVINFO l, PSP_DEVINFO_DATA d, PSP_DEVINSTALL_PARAMS_W p)
{
    if (p->cbSize != sizeof *p) { SetLastError(ERROR_INVALID_USER_BUFFER); return FALSE; }
    p->Flags = number(L"Answer") == 1 ? DI_NEEDREBOOT : 0;
    return TRUE;
}
