// What others may have put into /dev/shm: another user's directories, with traps in them.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "sim/wire/layout.h"
#include "sim/wire/membership.h"
#include "sim/wire/private_file.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kOther = 64321;

/// A directory of the test's own.
class Place {
 public:
  Place() { ::mkdir(path.c_str(), 0700); }
  ~Place() { fs::remove_all(path); }
  std::string At(const std::string& name) const { return path + "/" + name; }
  const std::string path = testing::TempDir() + "/" + UniqueName();
};

template <typename Open>
int ErrorOf(Open open) {
  errno = 0;
  return open().valid() ? 0 : errno;
}

// --- Looking before opening

TEST(PrivateDirectory, GivenWhatIsNoDirectoryOfOursAloneWhenOpenedThenItIsRefused) {
  const Place place;
  EXPECT_EQ(ErrorOf([&] { return OpenPrivateDirectory(place.path); }), 0);
  EXPECT_EQ(ErrorOf([&] { return OpenPrivateDirectory(place.At("missing")); }), ENOENT);
  fs::create_directory_symlink(place.path, place.At("link"));
  EXPECT_EQ(ErrorOf([&] { return OpenPrivateDirectory(place.At("link")); }), EPERM);
  std::ofstream(place.At("file")) << "no directory";
  EXPECT_EQ(ErrorOf([&] { return OpenPrivateDirectory(place.At("file")); }), EPERM);
  ::mkfifo(place.At("fifo").c_str(), 0700);
  EXPECT_EQ(ErrorOf([&] { return OpenPrivateDirectory(place.At("fifo")); }), EPERM);
  for (const mode_t mode : {0750, 0705, 0777, 01777}) {
    ::chmod(place.path.c_str(), mode);
    EXPECT_EQ(ErrorOf([&] { return OpenPrivateDirectory(place.path); }), EPERM) << mode;
  }
}

TEST(PrivateFile, GivenWhatIsNoRegularFileWhenOpenedThenItIsRefused) {
  const Place place;
  const UniqueFd directory = OpenPrivateDirectory(place.path);
  const auto error = [&](const char* name, IfMissing if_missing) {
    return ErrorOf([&] { return OpenPrivateFile(directory.get(), name, if_missing); });
  };
  EXPECT_EQ(error("file", IfMissing::kFail), ENOENT);
  EXPECT_EQ(error("file", IfMissing::kCreate), 0);
  EXPECT_EQ(error("file", IfMissing::kFail), 0);
  EXPECT_EQ(fs::status(place.At("file")).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  ::mkfifo(place.At("fifo").c_str(), 0600);
  ::mkdir(place.At("directory").c_str(), 0700);
  fs::create_symlink(place.At("file"), place.At("link"));
  fs::create_symlink(place.At("nothing"), place.At("dangling"));
  for (const char* name : {"fifo", "directory", "link", "dangling"}) {
    EXPECT_EQ(error(name, IfMissing::kFail), EPERM) << name;
    EXPECT_EQ(error(name, IfMissing::kCreate), EPERM) << name;
  }
}

/// A process that holds a lease on a file, and gives it up when somebody else wants to open that,
/// which it notes.
class LeaseHolder {
 public:
  LeaseHolder(const std::string& path, short type, uid_t user) {
    int ready[2];
    if (::pipe(ready) != 0 || ::pipe(heard_) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) Hold(path, type, user, ready[1]);
    ::close(ready[1]);
    ::close(heard_[1]);
    char byte = 0;
    holds_ = ::read(ready[0], &byte, 1) == 1;
    ::close(ready[0]);
  }
  ~LeaseHolder() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(heard_[0]);
  }
  bool holds() const { return holds_; }
  /// Whoever opens the file waits until the holder has noted it.
  bool Heard() const {
    pollfd heard = {heard_[0], POLLIN, 0};
    return ::poll(&heard, 1, 0) != 0;
  }

 private:
  [[noreturn]] void Hold(const std::string& path, short type, uid_t user, int ready) const {
    sigset_t break_signal;
    sigemptyset(&break_signal);
    sigaddset(&break_signal, SIGIO);
    ::sigprocmask(SIG_BLOCK, &break_signal, nullptr);
    if (user != ::geteuid() && ::setresuid(user, user, user) != 0) ::_exit(1);
    const int fd = ::open(path.c_str(), type == F_RDLCK ? O_RDONLY : O_RDWR);
    if (fd < 0 || ::fcntl(fd, F_SETLEASE, type) != 0 || ::write(ready, "r", 1) != 1) ::_exit(1);
    ::close(ready);
    ::sigwaitinfo(&break_signal, nullptr);
    if (::write(heard_[1], "h", 1) != 1) ::_exit(1);
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    for (;;) ::pause();
  }

  int heard_[2];
  pid_t pid_ = -1;
  bool holds_ = false;
};

TEST(PrivateFile, GivenALeaseOnAFileOfOursWhenOpenedThenItFailsRatherThanBlocks) {
  const Place place;
  std::ofstream(place.At("file")) << "leased";
  const LeaseHolder holder(place.At("file"), F_WRLCK, ::geteuid());
  ASSERT_TRUE(holder.holds());
  const UniqueFd directory = OpenPrivateDirectory(place.path);
  EXPECT_EQ(ErrorOf([&] { return OpenPrivateFile(directory.get(), "file", IfMissing::kFail); }),
            EWOULDBLOCK);
}

TEST(PrivateFile, GivenWhatIsNoRegularFileAsControlFileWhenAFabricIsOpenedThenTheErrorSaysSo) {
  const std::string fabric = UniqueName();
  ASSERT_EQ(::mkdir(FabricDirectory(fabric).c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo((FabricDirectory(fabric) + "/control").c_str(), 0600), 0);
  OpenSharedMemoryWire(Options(UniqueName(), 1));  // passes it by
  try {
    OpenSharedMemoryWire(Options(fabric, 1));
    ADD_FAILURE() << "opened a FIFO";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("no regular file"), std::string::npos);
  }
  fs::remove_all(FabricDirectory(fabric));
}

// --- Another user's traps

class PlantedTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "run this test as root: it needs another user";
  }
  void TearDown() override {
    for (const std::string& path : planted_) fs::remove_all(path);
  }
  /// A directory by another user's hand, where one of ours would be. Returns its control file.
  std::string Plant(const std::string& fabric, mode_t mode) {
    const std::string path = FabricDirectory(fabric);
    planted_.push_back(path);
    ::mkdir(path.c_str(), 0700);
    std::ofstream(path + "/control") << std::string(kControlBytes, 'x');
    for (const std::string& each : {path + "/control", path}) {
      if (::chown(each.c_str(), kOther, kOther) != 0) ADD_FAILURE() << each;
    }
    ::chmod(path.c_str(), mode);
    return path + "/control";
  }

  std::vector<std::string> planted_;
};

TEST_F(PlantedTest, GivenAnothersDirectoriesWithLeasesWhenAFabricIsOpenedThenNoneIsTouched) {
  std::vector<std::unique_ptr<LeaseHolder>> holders;
  for (const mode_t mode : {0700, 0755, 0777}) {
    for (const short type : {short{F_WRLCK}, short{F_RDLCK}}) {
      holders.push_back(std::make_unique<LeaseHolder>(Plant(UniqueName(), mode), type, kOther));
      ASSERT_TRUE(holders.back()->holds());
    }
  }
  const std::string fabric = UniqueName();
  auto a = OpenSharedMemoryWire(Options(fabric, 1));
  auto b = OpenSharedMemoryWire(Options(fabric, 2));
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 1)), SendResult::kSent);
  for (const auto& holder : holders) EXPECT_FALSE(holder->Heard());
  for (const std::string& path : planted_) EXPECT_TRUE(fs::exists(path + "/control"));
}

TEST_F(PlantedTest, GivenAnothersDirectoryOfTheFabricsNameWhenOpenedThenTheErrorSaysSoAtOnce) {
  const std::string fabric = UniqueName();
  const LeaseHolder holder(Plant(fabric, 0777), F_WRLCK, kOther);
  ASSERT_TRUE(holder.holds());
  try {
    OpenSharedMemoryWire(Options(fabric, 1));
    ADD_FAILURE() << "entered another's directory";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("is not a private directory of this user"),
              std::string::npos);
  }
  EXPECT_FALSE(holder.Heard());
}

TEST_F(PlantedTest, GivenAnothersEmptyDirectoryOrLinkWhenAFabricIsOpenedThenItStays) {
  const std::string empty = FabricDirectory(UniqueName()), link = FabricDirectory(UniqueName());
  const Place elsewhere;
  planted_ = {empty, link};
  ::mkdir(empty.c_str(), 0700);
  ASSERT_EQ(::chown(empty.c_str(), kOther, kOther), 0);
  fs::create_directory_symlink(elsewhere.path, link);
  auto wire = OpenSharedMemoryWire(Options(UniqueName(), 1));
  EXPECT_TRUE(fs::exists(empty));
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_TRUE(fs::exists(elsewhere.path));
}

}  // namespace
}  // namespace qpip::wire::test
