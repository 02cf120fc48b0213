/* A stand-in for the driver package's own service, netkvmp: it runs until it is told to stop, and takes two seconds for that,
   as one that waits for INetCfg would. */
#include <windows.h>
static SERVICE_STATUS_HANDLE handle;
static HANDLE stop;
static void tell(DWORD state)
{
    SERVICE_STATUS s = { SERVICE_WIN32_OWN_PROCESS, state, state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP : 0, 0, 0, 0, 10000 };
    SetServiceStatus(handle, &s);
}
static DWORD WINAPI control(DWORD code, DWORD type, void *data, void *context)
{
    if (code == SERVICE_CONTROL_STOP) { tell(SERVICE_STOP_PENDING); SetEvent(stop); }
    return NO_ERROR;
}
static void WINAPI service(DWORD count, WCHAR **words)
{
    handle = RegisterServiceCtrlHandlerExW(L"netkvmp", control, NULL);
    tell(SERVICE_RUNNING);
    WaitForSingleObject(stop, INFINITE);
    Sleep(2000);
    tell(SERVICE_STOPPED);
}
int main(void)
{
    SERVICE_TABLE_ENTRYW table[] = { { (WCHAR *)L"netkvmp", service }, { NULL, NULL } };
    stop = CreateEventW(NULL, TRUE, FALSE, NULL);
    return !StartServiceCtrlDispatcherW(table);
}
