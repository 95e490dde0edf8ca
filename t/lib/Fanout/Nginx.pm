package Fanout::Nginx;

=head1 NAME

Fanout::Nginx - a real NGINX with several workers, for one test

=head1 SYNOPSIS

    use Fanout::Nginx;                      # and Test::More, wait_for

    my $nginx = Fanout::Nginx->start(
        http   => 'fanout_zone app 8m; fanout_channel app * history=10;',
        server => 'location /raw { fanout app; fanout_dialect raw;
                                   fanout_permit all *; }',
    );

    my $ws   = $nginx->ws(path => '/raw?channel=a');
    my $http = $nginx->http;
    my ($one, $two) = $nginx->worker_pids;
    my $ann  = $nginx->native(worker => $two, path => '/realtime');

    $nginx->kill_worker($one);              # KILL, and waits for the new one
    $nginx->reload;

    # no done_testing: the end of the script does it, see below

=head1 DESCRIPTION

C<start> options, all of them optional:

    main, events, http, server   text for that block
    servers     text behind the server, inside http: more servers
    workers     2
    level       "info"; "debug" for NGINX's debug log
    tls         1 for a second port with TLS: %%TLSPORT%%
    module      path of the module, '' for an NGINX without it
    allow       array of regexes: log lines that are no fault here
    stop        "term" (default) or "quit": how the end of the test stops it
    at_end      sub($nginx), called before that: for checks of the zone
    conf        the whole configuration instead of the above
    dir         a directory to use instead of a new one (to start again)

In every text %%PORT%%, %%TLSPORT%%, %%PORT1%% .. %%PORT9%% are free ports and
%%DIR%% is a directory of the test's own; C<port(name)> and C<dir> give
them. The server listens on 127.0.0.1:%%PORT%% (and %%TLSPORT%%) and answers
with X-Worker: PID, unless a location has an add_header of its own.

At the end of the script, or at its done_testing, every NGINX is stopped and
its log is checked, as a test: an [alert], [emerg] or [crit] that was not
allowed, or a sanitizer's report, fails it. A script needs no done_testing of
its own, and must not have a plan.

=over

=item worker_pids, master_pid, stopping_pids

Workers that serve now; the master; workers that are shutting down.

=item ws(%o), native(%o), http(%o)

Clients to this NGINX. C<tls> picks the TLS port, C<worker> is the pid of the
worker that must get the connection, C<server_port> names another port.

=item on_worker(pid, sub)

Calls the sub, which makes one connection and returns a client, so that
this worker accepts it: the others are stopped (SIGSTOP) meanwhile.

=item worker_of(client)

The pid of the worker that has the client's connection.

=item reload(%o)

SIGHUP, and waits for the new workers. Options: any of C<start>'s texts and
C<workers>, to change them; C<wait_old> waits until the old workers are gone.

=item try_reload(regex, %o)

A reload that is to fail: waits for a line that matches and allows it.

=item kill_worker(pid, signal?), kill_master(signal?)

KILL unless said otherwise; for a worker that dies of it, waits until there
are as many workers again. The log line about it is allowed.

=item signal(pid, signal)

Just that. STOP and CONT are undone by C<stop>.

=item stop(how?, timeout?), restart(%o)

Stops by "quit" or "term"; false if it had to be killed. Starts it again in
the same directory on the same ports.

=item log, log_like(regex), wait_log(regex, timeout?), allow(regex...)

The error log as text; lines that match; the same once there is one; declares
lines that are no fault.

=item rss(pid), fds(pid)

Memory of a process in bytes (private and shared, resident); its open files.

=back

Functions, exported: C<wait_for(sub, timeout?)> calls the sub until it is true and
returns what it returned, or undef after the time-out; C<free_port>; C<finish>
stops and checks now.

Environment: TEST_NGINX_BINARY, TEST_NGINX_MODULE (empty when it is linked
in), TEST_NGINX_LEAVE=1 to keep the directory, TEST_NGINX_LEVEL,
TEST_TIMEOUT_SCALE.

=cut

use strict;
use warnings;

use Cwd qw( abs_path );
use Exporter qw( import );
use File::Basename qw( dirname );
use File::Path qw( remove_tree );
use File::Temp qw( tempdir );
use IO::Socket::INET;
use POSIX qw( WNOHANG );
use Test::More import => [ '!done_testing' ];
use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::HTTP;
use Fanout::Native;
use Fanout::WS;

our @EXPORT = (
    qw( wait_for free_port finish done_testing ),
    grep { $_ ne 'done_testing' } @Test::More::EXPORT
);

my $root = abs_path(dirname(__FILE__) . '/../../..');

my @running;

for my $signal (qw( INT TERM HUP )) {
    $SIG{$signal} = sub { exit 130 } if !defined $SIG{$signal}
                                     || $SIG{$signal} eq 'DEFAULT';
}

my $main_pid = $$;
my $finished;
my $counted;


sub start {
    my ($class, %o) = @_;

    my $self = bless {
        o       => { workers => 2, %o },
        ports   => {},
        allowed => [ @{ $o{allow} || [] } ],
        stopped => {},
    }, $class;

    $self->{dir} = $o{dir} || tempdir('fanout-XXXXXX', TMPDIR => 1);
    chmod 0755, $self->{dir};

    push @running, $self;

    for my $try (1 .. 5) {
        return $self if $self->launch;

        last if $self->log !~ /bind\(\) to .* failed/;

        $self->{ports} = {};
        unlink $self->{dir} . '/error.log';
    }

    my $log = $self->log;
    $self->allow(qr/./);

    die "NGINX did not start:\n$log";
}


sub launch {
    my ($self) = @_;

    my $dir = $self->{dir};

    mkdir "$dir/$_" for qw( temp html );
    $self->make_certificate if $self->{o}{tls};
    $self->write_conf;

    my $pid = fork;
    die "fork: $!" if !defined $pid;

    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/stderr";
        open STDERR, '>>', "$dir/stderr";
        delete $ENV{NGINX};     # inherited sockets, to NGINX
        die_with_parent();
        exec { binary() } 'nginx', '-p', $dir, '-c', "$dir/nginx.conf",
             '-e', "$dir/error.log" or POSIX::_exit(127);
    }

    $self->{pid} = $pid;

    my $up = wait_for(sub {
        return 'no' if waitpid($pid, WNOHANG) == $pid;
        return 'yes' if $self->worker_pids == $self->{o}{workers};
        return undef;
    }, 15);

    return 1 if $up && $up eq 'yes';

    if (!$up) {
        kill 'KILL', $pid, $self->children(qr/^nginx: /);
        waitpid $pid, 0;
    }

    $self->{pid} = 0;

    return 0;
}


# END doesn't run when a test is killed: prctl(PR_SET_PDEATHSIG, SIGTERM)

sub die_with_parent {
    my $number = { x86_64 => 157, aarch64 => 167 }->{ (POSIX::uname())[4] };

    syscall $number, 1, 15, 0, 0, 0 if $number;
}


sub binary {
    return $ENV{TEST_NGINX_BINARY} if $ENV{TEST_NGINX_BINARY};

    for (split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/nginx/sbin') {
        return "$_/nginx" if -x "$_/nginx";
    }

    return 'nginx';
}


sub module {
    my ($self) = @_;

    return $self->{o}{module} if defined $self->{o}{module};
    return $ENV{TEST_NGINX_MODULE} if defined $ENV{TEST_NGINX_MODULE};
    return "$root/build/ngx_http_fanout_module.so";
}


sub write_conf {
    my ($self) = @_;

    my $text = $self->expand($self->{o}{conf} || $self->template);

    open my $f, '>', "$self->{dir}/nginx.conf" or die "nginx.conf: $!";
    print $f $text;
    close $f;
}


sub expand {
    my ($self, $text) = @_;

    $text =~ s/%%DIR%%/$self->{dir}/g;
    $text =~ s/%%((?:TLS)?PORT[1-9]?)%%/$self->port($1)/ge;

    return $text;
}


sub template {
    my ($self) = @_;

    my $o = $self->{o};

    my %text = map { $_ => defined $o->{$_} ? $o->{$_} : '' }
               qw( main events http server servers );

    my $module = $self->module;
    my $load   = length $module ? "load_module $module;" : '';
    my $user   = $> == 0 ? 'user root;' : '';
    my $level  = $ENV{TEST_NGINX_LEVEL} || $o->{level} || 'info';

    my $connections = $text{events} =~ /worker_connections/
                    ? '' : 'worker_connections 4096;';
    my $listen = $text{server} =~ /\blisten\s/
               ? '' : 'listen 127.0.0.1:%%PORT%%;';

    my $tls = !$o->{tls} ? '' : <<"END";
listen 127.0.0.1:%%TLSPORT%% ssl;
        ssl_certificate      %%DIR%%/cert.pem;
        ssl_certificate_key  %%DIR%%/key.pem;
END

    return <<"END";
$load
$user
daemon off;
master_process on;
worker_processes $o->{workers};
pid %%DIR%%/nginx.pid;
error_log %%DIR%%/error.log $level;
$text{main}

events {
    $connections
    $text{events}
}

http {
    access_log off;
    root %%DIR%%/html;
    client_body_temp_path %%DIR%%/temp/body;
    proxy_temp_path %%DIR%%/temp/proxy;
    fastcgi_temp_path %%DIR%%/temp/fastcgi;
    uwsgi_temp_path %%DIR%%/temp/uwsgi;
    scgi_temp_path %%DIR%%/temp/scgi;
    $text{http}

    server {
        $listen
        $tls
        add_header X-Worker \$pid always;
        $text{server}
    }
    $text{servers}
}
END
}


sub make_certificate {
    my ($self) = @_;

    my $dir = $self->{dir};

    return if -s "$dir/cert.pem";

    system "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
         . " -nodes -days 2 -subj /CN=localhost"
         . " -keyout $dir/key.pem -out $dir/cert.pem > /dev/null 2>&1";

    die "openssl made no certificate\n" if $?;
}


sub free_port {
    my $s = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp',
        Listen => 1, ReuseAddr => 1
    ) or die "no free port: $!";

    return $s->sockport;
}


sub port {
    my ($self, $name) = @_;

    my $ports = $self->{ports};

    $name ||= 'PORT';

    while (!$ports->{$name}) {
        my $port = free_port();
        $ports->{$name} = $port if !grep { $_ == $port } values %$ports;
    }

    return $ports->{$name};
}


sub dir        { $_[0]{dir} }
sub master_pid { $_[0]{pid} }
sub uri        { 'http://127.0.0.1:' . $_[0]->port . ($_[1] || '/') }


# Children of the master by what they call themselves: a worker takes its
# title when it is ready to serve.

sub children {
    my ($self, $title) = @_;

    my @pids;

    return () if !$self->{pid};

    opendir my $d, '/proc' or die "/proc: $!";

    for my $pid (grep { /^\d+$/ } readdir $d) {
        my $stat = slurp("/proc/$pid/stat");

        next if $stat !~ /\) (\S) (\d+) /;
        next if $2 != $self->{pid} || $1 eq 'Z';
        next if slurp("/proc/$pid/cmdline") !~ $title;

        push @pids, $pid;
    }

    @pids = sort { $a <=> $b } @pids;
    return @pids;
}


sub worker_pids {
    my ($self) = @_;

    return $self->children(qr/^nginx: worker process(?! is)/);
}


sub stopping_pids {
    my ($self) = @_;

    return $self->children(qr/^nginx: worker process is shutting down/);
}


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or return '';
    local $/;

    my $text = readline $f;
    return defined $text ? $text : '';
}


sub wait_for {
    my ($code, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10)
                     * $Fanout::Socket::SCALE;
    my $pause = 0.002;

    while (1) {
        my $value = $code->();

        return $value if $value;
        return undef if time >= $end;

        sleep $pause;
        $pause *= 1.5 if $pause < 0.05;
    }
}


sub reload {
    my ($self, %o) = @_;

    my $wait_old = delete $o{wait_old};
    my %old      = map { $_ => 1 } $self->worker_pids, $self->stopping_pids;

    $self->{o} = { %{ $self->{o} }, %o };
    $self->write_conf;

    kill 'HUP', $self->{pid};

    my $new = wait_for(sub {
        my @pids = $self->worker_pids;
        return @pids == $self->{o}{workers} && !grep { $old{$_} } @pids;
    }, 15);

    die "no new workers after a reload:\n" . $self->tail if !$new;

    $self->wait_gone(15, keys %old) or die "old workers stay after a reload\n"
        if $wait_old;

    return 1;
}


sub try_reload {
    my ($self, $regex, %o) = @_;

    my $before = $self->{o};
    my $seen   = $self->log_like($regex);

    $self->{o} = { %$before, %o };
    $self->write_conf;
    $self->allow($regex);

    kill 'HUP', $self->{pid};

    my $found = wait_for(sub { $self->log_like($regex) > $seen });

    $self->{o} = $before;
    $self->write_conf;

    return $found;
}


sub gone {
    my ($pid) = @_;

    my $stat = slurp("/proc/$pid/stat");

    return $stat eq '' || $stat =~ /\) Z /;
}


# A signal is taken a moment later: until then the worker can be woken for a
# connection, which it would hold up.

sub halted {
    my ($pid) = @_;

    my $stat = slurp("/proc/$pid/stat");

    return $stat eq '' || $stat =~ /\) [TtZ] /;
}


sub wait_gone {
    my ($self, $timeout, @pids) = @_;

    return wait_for(sub { !grep { !gone($_) } @pids }, $timeout);
}


sub signal {
    my ($self, $pid, $signal) = @_;

    $self->{stopped}{$pid} = 1 if $signal eq 'STOP';
    delete $self->{stopped}{$pid} if $signal eq 'CONT';

    my $sent = kill $signal, $pid;

    # Until it has stopped the kernel may still wake it, and nobody else, for
    # a connection, which then waits for it.

    wait_for(sub { halted($pid) }, 5) if $sent && $signal eq 'STOP';

    return $sent;
}


my %fatal = map { $_ => 1 } qw( KILL SEGV ABRT BUS ILL FPE );

sub kill_worker {
    my ($self, $pid, $signal) = @_;

    $signal ||= 'KILL';

    $self->allow(qr/worker process $pid exited on signal/);
    $self->signal($pid, $signal);

    return 1 if !$fatal{$signal};

    return $self->wait_gone(10, $pid)
        && wait_for(sub { $self->worker_pids >= $self->{o}{workers} });
}


sub kill_master {
    my ($self, $signal) = @_;

    my @workers = ($self->worker_pids, $self->stopping_pids);

    kill $signal || 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
    $self->{orphans} = \@workers;

    return @workers;
}


sub on_worker {
    my ($self, $pid, $connect) = @_;

    my $got = 'none';

    for my $try (1 .. 30) {
        my @others = grep { $_ != $pid && !$self->{stopped}{$_} }
                     $self->worker_pids, $self->stopping_pids;

        # One that was stopped inside a lock of the zone would hold up the
        # others: let it go on and try again.

        kill 'STOP', @others if @others;
        wait_for(sub { !grep { !halted($_) } @others }, 10);
        my $client = eval { $connect->($try < 4 ? 2 : 10) };
        my $error  = $@;
        kill 'CONT', @others if @others;

        if (!$client) {
            $got = $error;
            next;
        }

        $got = $self->worker_of($client);

        return $client if defined $got && $got == $pid;

        $client->disconnect;
    }

    die "no connection to worker $pid: $got\n";
}


sub worker_of {
    my ($self, $client) = @_;

    my $headers = $client->isa('Fanout::WS') ? $client->headers : undef;

    return $headers->{'x-worker'} if $headers && $headers->{'x-worker'};

    my $socket = $client->isa('Fanout::HTTP') ? $client->socket : $client;

    return wait_for(sub {
        my $inode = server_inode($socket) or return undef;

        for my $pid ($self->worker_pids, $self->stopping_pids) {
            return $pid if grep { (readlink($_) || '') eq "socket:[$inode]" }
                           glob "/proc/$pid/fd/*";
        }

        return undef;
    }, 2);
}


# of the server's end of a connection: it has no inode until it is accepted

sub server_inode {
    my ($socket) = @_;

    my $want = sprintf ':%04X [0-9A-F]+:%04X 01',
                       $socket->peer_port, $socket->local_port;

    open my $f, '<', '/proc/net/tcp' or return undef;

    while (my $line = <$f>) {
        next if $line !~ /$want/;

        my $inode = (split ' ', $line)[9];
        return $inode || undef;
    }

    return undef;
}


sub client {
    my ($self, $class, $method, %o) = @_;

    my $worker = delete $o{worker};

    $o{port} = $self->port($o{tls} ? 'TLSPORT' : delete $o{server_port})
        if !$o{port};

    return $class->$method(%o) if !$worker;

    return $self->on_worker($worker, sub {
        $class->$method(timeout => $_[0], %o)
    });
}


sub ws     { my $s = shift; $s->client('Fanout::WS', connect => @_) }
sub native { my $s = shift; $s->client('Fanout::Native', connect => @_) }


sub http {
    my ($self, %o) = @_;

    my $worker = delete $o{worker};
    my $http   = $self->client('Fanout::HTTP', new => %o);

    return $http if !$worker;

    return $self->on_worker($worker, sub {
        $http->disconnect;
        $http->connection;
        return $http;
    });
}


sub stop {
    my ($self, $how, $timeout) = @_;

    my @left = @{ delete $self->{orphans} || [] };

    kill 'CONT', keys %{ $self->{stopped} } if %{ $self->{stopped} };
    $self->{stopped} = {};

    kill 'TERM', @left if @left;
    $self->wait_gone(5, @left) || kill 'KILL', @left if @left;

    my $pid = $self->{pid} or return 1;

    @left = ($self->worker_pids, $self->stopping_pids);

    kill $how && $how eq 'quit' ? 'QUIT' : 'TERM', $pid;

    my $gone = wait_for(sub { waitpid($pid, WNOHANG) }, $timeout || 10);

    if (!$gone) {
        kill 'KILL', $pid, $self->children(qr/^nginx: /);
        waitpid $pid, 0;
    }

    $self->{pid} = 0;
    $self->wait_gone(5, @left);

    return !!$gone;
}


sub restart {
    my ($self, %o) = @_;

    my $how = delete $o{how};

    $self->stop($how);
    $self->{o} = { %{ $self->{o} }, %o };

    return $self->launch || die "NGINX did not start again:\n" . $self->tail;
}


sub log {
    my ($self) = @_;

    return slurp("$self->{dir}/error.log") . slurp("$self->{dir}/stderr");
}


sub tail {
    my ($self) = @_;

    my @lines = split /\n/, $self->log;

    splice @lines, 0, -20 if @lines > 20;
    return join "\n", @lines, '';
}


sub log_like {
    my ($self, $regex) = @_;

    return grep { $_ =~ $regex } split /\n/, $self->log;
}


sub wait_log {
    my ($self, $regex, $timeout) = @_;

    my @lines;

    wait_for(sub { @lines = $self->log_like($regex) }, $timeout);

    return wantarray ? @lines : $lines[0];
}


sub allow {
    my ($self, @regexes) = @_;

    push @{ $self->{allowed} }, @regexes;
}


sub rss {
    my ($self, $pid) = @_;

    return slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 * 1024 : 0;
}


sub fds {
    my ($self, $pid) = @_;

    return scalar(my @fds = glob "/proc/$pid/fd/*");
}


sub faults {
    my ($self) = @_;

    my @allowed = @{ $self->{allowed} };
    my @faults;

    for my $line (split /\n/, $self->log) {
        next if $line !~ /\[(?:alert|emerg|crit)\]|Sanitizer|runtime error:/;
        next if $line !~ /Sanitizer|runtime error:/
             && grep { $line =~ $_ } @allowed;

        push @faults, $line;
    }

    return @faults;
}


sub check {
    my ($self) = @_;

    if ($self->{pid} && $self->{o}{at_end}) {
        eval { $self->{o}{at_end}->($self); 1 } or fail("at the end: $@");
    }

    my $how = $self->{o}{stop} || 'term';

    ok($self->stop($how), "NGINX stops by $how");

    my @faults = $self->faults;

    ok(!@faults, "NGINX's log has no alert and no sanitizer's report")
        or diag(join "\n", splice(@faults, 0, 20), ' in the log, its end:',
                $self->tail);
}


sub remove {
    my ($self) = @_;

    if ($ENV{TEST_NGINX_LEAVE}) {
        diag("left in $self->{dir}");
        return;
    }

    remove_tree($self->{dir}) if !$self->{o}{dir};
}


# checks first, so that "done_testing" may also be said by the script

sub done_testing {
    finish();
    Test::More::done_testing() if !$counted++;
}


sub finish {
    return if $finished++ || $$ != $main_pid;

    for my $nginx (splice @running) {
        $nginx->check;
        $nginx->remove;
    }
}


END {
    my $status = $?;

    if ($$ == $main_pid && (@running || $finished)) {
        $status ? finish() : done_testing();
    }

    $? = $status;
}


1;
